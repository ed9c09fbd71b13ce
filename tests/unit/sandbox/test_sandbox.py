from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tasks.base import project, waiting
from tasks.base.errors import TaskError
from tasks.sandbox import readiness
from tasks.sandbox.errors import ExecFailed, ExecTimedOut
from tasks.sandbox.providers.docker import build_command, check_image
from tests.unit.sandbox.example_provider import MachineSandbox

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "text",
    ["plain", "two words", "'quotes' and \"more\"", "$HOME `id` $(id)", "a\nb", "-n", "ü \\", "*"],
)
def test_arguments_arrive_unchanged(text: str) -> None:
    assert MachineSandbox().exec(["printf", "%s", text]).stdout == text


def test_text_is_run_by_a_shell() -> None:
    assert MachineSandbox().exec("echo one; echo two >&2; exit 0").stdout == "one\n"
    assert MachineSandbox().exec("for i in 1 2\ndo echo $i\ndone").stdout == "1\n2\n"


def test_a_failed_command_is_an_error_unless_check_is_off() -> None:
    with pytest.raises(ExecFailed, match=r"status 3: it was like this$") as error_info:
        MachineSandbox().exec("echo it was like this >&2; exit 3")
    assert error_info.value.result.exit_code == 3
    assert MachineSandbox().exec("exit 3", check=False).exit_code == 3


def test_a_failed_command_is_reported_in_one_printable_line() -> None:
    with pytest.raises(ExecFailed) as error_info:
        MachineSandbox().exec("printf 'a\\nb\\033[31mred' >&2; false # \n")
    assert "\n" not in str(error_info.value)
    assert "\x1b" not in str(error_info.value)


def test_a_deadline_ends_all_processes_of_a_command() -> None:
    machine = MachineSandbox()
    script = "setsid sleep 41 >/dev/null 2>&1 & echo $!"
    machine.time_out = True
    with pytest.raises(ExecTimedOut, match=r"within 7 s") as error_info:
        machine.exec(script, timeout=7)
    leader = int(error_info.value.result.stdout)

    def has_ended() -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(leader).status() == psutil.STATUS_ZOMBIE
        return True

    # It was killed before the error came, but a busy machine takes its time to end it.
    waiting.until(has_ended, what="its end", timeout=10)


@pytest.mark.parametrize("content", [b"", b"text\n", bytes(range(256)) * 500, b"no newline"])
def test_files_are_written_and_read_back(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "new folder" / "-name with 'quotes'\n"
    machine = MachineSandbox()
    machine.write(str(path), content, mode=0o640)
    assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o640
    assert machine.read(str(path)) == content


def test_writing_a_file_again_replaces_all_of_it(tmp_path: Path) -> None:
    machine, path = MachineSandbox(), str(tmp_path / "file")
    machine.write(path, b"a long first content")
    machine.write(path, b"short")
    assert machine.read(path) == b"short"


@pytest.mark.parametrize(
    ("text", "services"),
    [
        ("iterate-daemon true true true\nopencode true true true\n", []),
        ("iterate-daemon true true true\nopencode false false true\n", ["opencode"]),
        ("opencode false true true", []),  # about to be started again
        ("opencode false false false", []),  # down on purpose
        ("opencode\n", []),  # its supervisor does not answer
        ("", []),
    ],
)
def test_services_that_gave_up_are_recognized(text: str, services: list[str]) -> None:
    assert readiness.parse_given_up(text) == services


OUR_CONFIG = {"Labels": {"org.opencontainers.image.title": project.NAME}}


def test_a_sandbox_image_for_this_machine_is_accepted() -> None:
    for machine, built_for in (("x86_64", "amd64"), ("aarch64", "arm64"), ("", "amd64")):
        check_image("i:t", {"Architecture": built_for, "Config": OUR_CONFIG}, machine=machine)


@pytest.mark.parametrize(
    ("attrs", "words"),
    [
        (
            {"Architecture": "arm64", "Config": OUR_CONFIG},
            r"i:t is made for arm64 .*runs amd64 → nox",
        ),
        ({"Architecture": "amd64", "Config": {"Labels": None}}, r"not a sandbox image.*→ nox"),
        ({"Architecture": "amd64", "Config": {"Labels": {"a": "b"}}}, r"not a sandbox image"),
        # The base image that setup makes.
        (
            {"Architecture": "amd64", "Config": {"Labels": {"dev.iterate.sandbox.base": "b"}}},
            r"not a sandbox image",
        ),
        ({"Architecture": "amd64", "Config": None}, r"not a sandbox image"),
    ],
)
def test_an_unusable_image_is_refused_with_a_reason(attrs: dict[str, Any], words: str) -> None:
    with pytest.raises(TaskError, match=words):
        check_image("i:t", attrs, machine="x86_64")


def test_the_advice_for_a_missing_image_builds_it() -> None:
    assert build_command(project.LOCAL_IMAGE) == "nox -s snapshot_local"
    assert build_command("other:1") == "nox -s snapshot_local -- --tag other:1"
