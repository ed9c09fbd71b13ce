from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tasks.base import waiting
from tasks.base.errors import TaskError
from tasks.sandbox import readiness
from tasks.sandbox.providers.docker import build_command, check_image
from tasks.sandbox.sandbox import ExecFailed, ExecResult, ExecTimedOut, Sandbox, Spec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class Here(Sandbox):
    """A sandbox that is this machine: what `exec` and the files are made of really runs."""

    name = "here"
    spec = Spec()

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.time_out = False

    def run_inside(
        self,
        args: Sequence[str],
        *,
        user: str,
        env: Mapping[str, str],
        cwd: str | None,
        stdin: bytes,
        timeout: float,
    ) -> tuple[ExecResult, bool]:
        assert user
        self.calls.append(list(args))
        timed_out, self.time_out = self.time_out, False
        done = subprocess.run(
            list(args),
            env={"PATH": "/usr/bin:/bin", **env},
            cwd=cwd,
            input=stdin,
            timeout=timeout,
            capture_output=True,
            check=False,
        )
        result = ExecResult(
            command=" ".join(args),
            exit_code=done.returncode,
            stdout_bytes=done.stdout,
            stderr_bytes=done.stderr,
            seconds=0,
        )
        return result, timed_out

    def _no(self, *_args: Any, **_options: Any) -> Any:
        raise AssertionError("no test here reaches beyond exec and files")

    start = stop = kill = delete = ended = exit_status = url = headers = console = health = _no
    describe = how_to_reach = how_to_delete = _no


@pytest.mark.parametrize(
    "text",
    ["plain", "two words", "'quotes' and \"more\"", "$HOME `id` $(id)", "a\nb", "-n", "ü \\", "*"],
)
def test_arguments_arrive_as_they_are(text: str) -> None:
    assert Here().exec(["printf", "%s", text]).stdout == text


def test_text_is_for_a_shell() -> None:
    assert Here().exec("echo one; echo two >&2; exit 0").stdout == "one\n"
    assert Here().exec("for i in 1 2\ndo echo $i\ndone").stdout == "1\n2\n"


def test_a_failure_is_an_error_unless_it_is_wanted() -> None:
    with pytest.raises(ExecFailed, match=r"status 3: it was like this$") as caught:
        Here().exec("echo it was like this >&2; exit 3")
    assert caught.value.result.exit_code == 3
    assert Here().exec("exit 3", check=False).exit_code == 3


def test_a_failure_is_told_in_one_printable_line() -> None:
    with pytest.raises(ExecFailed) as caught:
        Here().exec("printf 'a\\nb\\033[31mred' >&2; false # \n")
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_deadline_ends_what_was_started_wherever_it_went() -> None:
    here = Here()
    script = "setsid sleep 41 >/dev/null 2>&1 & echo $!"
    here.time_out = True
    with pytest.raises(ExecTimedOut, match=r"within 7 s") as caught:
        here.exec(script, timeout=7)
    leader = int(caught.value.result.stdout)

    def ended() -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(leader).status() == psutil.STATUS_ZOMBIE
        return True

    # It was killed before the error came, but a busy machine takes its time to end it.
    waiting.until(ended, what="its end", timeout=10)


@pytest.mark.parametrize("content", [b"", b"text\n", bytes(range(256)) * 500, b"no newline"])
def test_files_go_there_and_back(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "new folder" / "-name with 'quotes'\n"
    here = Here()
    here.write(str(path), content, mode=0o640)
    assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o640
    assert here.read(str(path)) == content


def test_writing_again_leaves_nothing_of_before(tmp_path: Path) -> None:
    here, path = Here(), str(tmp_path / "file")
    here.write(path, b"a long first content")
    here.write(path, b"short")
    assert here.read(path) == b"short"


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
def test_services_that_gave_up(text: str, services: list[str]) -> None:
    assert readiness.parse_given_up(text) == services


OURS = {"Labels": {"org.opencontainers.image.title": "iterate sandbox"}}


def test_an_image_of_ours_for_this_machine() -> None:
    for machine, built_for in (("x86_64", "amd64"), ("aarch64", "arm64"), ("", "amd64")):
        check_image("i:t", {"Architecture": built_for, "Config": OURS}, machine=machine)


@pytest.mark.parametrize(
    ("attrs", "words"),
    [
        ({"Architecture": "arm64", "Config": OURS}, r"i:t is made for arm64 .*runs amd64 → nox"),
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
def test_an_image_that_cannot_be_used(attrs: dict[str, Any], words: str) -> None:
    with pytest.raises(TaskError, match=words):
        check_image("i:t", attrs, machine="x86_64")


def test_how_to_build_it() -> None:
    assert build_command("iterate-sandbox:local") == "nox -s snapshot_local"
    assert build_command("other:1") == "nox -s snapshot_local -- --tag other:1"
