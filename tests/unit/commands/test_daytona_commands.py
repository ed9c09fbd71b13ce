"""What the commands refuse before anything is read, built or sent; and which word counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tasks.base import project
from tasks.base.errors import BadInput
from tasks.commands import daytona_test, snapshot_daytona, snapshots
from tasks.daytona.snapshots_parser import make_parser

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Show = Callable[[str, object], None]

KEY = "dtn_" + "0123456789abcdef" * 4


def tasks(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("DAYTONA_", "SANDBOX_"))}
    # Nobody listens there: a request would fail otherwise than these do.
    defaults = {"DAYTONA_API_URL": "https://daytona.invalid/api", **environment}
    return subprocess.run(
        [sys.executable, "-m", "tasks", *args],
        cwd=project.ROOT,
        env={**inherited, **defaults},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def refusal(result: subprocess.CompletedProcess[str], *words: str) -> str:
    """The one line that it says."""
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert KEY not in result.stderr
    for word in words:
        assert word in result.stderr
    (line,) = result.stderr.strip().splitlines()
    return line


@pytest.mark.case("N37")
@pytest.mark.parametrize("command", [["snapshot-daytona"], ["daytona-test"], ["snapshots", "list"]])
@pytest.mark.parametrize("key", [None, "", "  ", KEY + "\n"])
def test_a_missing_or_unusable_key_is_one_line(
    command: list[str], key: str | None, show: Show
) -> None:
    """One line that says what is missing and where it is made."""
    environment = {"ITERATE_USER": "ann"} | ({} if key is None else {"DAYTONA_API_KEY": key})
    result = tasks(*command, **environment)
    line = refusal(result, "DAYTONA_API_KEY", "dashboard/keys")
    show(f"DAYTONA_API_KEY {'missing' if key is None else repr(key.replace(KEY, '…'))}", line)


@pytest.mark.case("N38")
@pytest.mark.parametrize(
    "url",
    ["http://app.daytona.io/api", "file:///x", "https://u:p@x/", "https://169.254.169.254/",
     "http://127.0.0.1:1/api"],
)  # fmt: skip
def test_an_address_that_must_not_get_the_key_is_one_line(url: str, show: Show) -> None:
    result = tasks("snapshots", "list", DAYTONA_API_KEY=KEY, DAYTONA_API_URL=url)
    show(f"DAYTONA_API_URL={url}", refusal(result, "DAYTONA_API_URL"))


@pytest.mark.case("N35")
@pytest.mark.parametrize(
    "name", ["a b", "日本", "a//b", "a" * 300, "<b>", "https://x", "a/", "a\nb"]
)
def test_an_impossible_name_is_one_line(name: str, show: Show) -> None:
    """Nothing is asked, so that even the address that nobody serves does not matter."""
    refusal(tasks("snapshots", "show", name, DAYTONA_API_KEY=KEY))
    refusal(tasks("daytona-test", "--snapshot", name, DAYTONA_API_KEY=KEY))
    refusal(tasks("daytona-test", DAYTONA_API_KEY=KEY, DAYTONA_SNAPSHOT_NAME=name))
    line = refusal(
        tasks("snapshot-daytona", "--stage", "dev-x", "--name", name, DAYTONA_API_KEY=KEY)
    )
    show(f"--name {name[:20]!r}", line)


@pytest.mark.case("N42")
@pytest.mark.parametrize(
    "args",
    [
        ["snapshot-daytona", "--nonsense"],
        ["snapshot-daytona", "--ref", "a", "--ref", "b"],
        ["snapshot-daytona", "--stage", "prd", "--stage", "stg"],
        ["snapshot-daytona", "--via", "pigeon"],
        ["snapshot-daytona", "--stag", "prd"],
        ["snapshot-daytona", "--stage", "production"],
        ["snapshot-daytona", "--timeout", "-1"],
        ["snapshot-daytona", "--untested"],
        ["snapshots"],
        ["snapshots", "rollback"],
        ["snapshots", "gc", "--keep", "-1"],
        ["daytona-test", "--ref", "a", "--snapshot", "b"],
        ["daytona-test", "--stand-in", "--snapshot", "b"],
        ["daytona-test", "--stand-in", "--keep"],
    ],
    ids=" ".join,
)
def test_impossible_arguments_are_one_line(args: list[str], show: Show) -> None:
    show(" ".join(args), refusal(tasks(*args, DAYTONA_API_KEY=KEY)))


@pytest.mark.parametrize(
    ("args", "environ", "name"),
    [
        ([], {}, None),
        ([], {"DAYTONA_SNAPSHOT_NAME": ""}, None),
        ([], {"DAYTONA_SNAPSHOT_NAME": "a"}, "a"),
        (["--snapshot", "b"], {"DAYTONA_SNAPSHOT_NAME": "a"}, "b"),
        (["--ref", "x"], {"DAYTONA_SNAPSHOT_NAME": "a"}, None),
    ],
)
def test_the_snapshot_to_test_comes_from_flag_or_variable(
    args: list[str], environ: Mapping[str, str], name: str | None
) -> None:
    assert (
        daytona_test.choose_snapshot(daytona_test.make_parser().parse_args(args), environ) == name
    )


def test_a_ref_and_a_snapshot_together_are_refused() -> None:
    options = daytona_test.make_parser().parse_args(["--ref", "x", "--snapshot", "b"])
    with pytest.raises(BadInput):
        daytona_test.choose_snapshot(options, {})


def test_a_dry_run_needs_no_account_and_prints_json_alone() -> None:
    result = tasks("snapshot-daytona", "--ref", "HEAD", "--stage", "dev-x", "--dry-run", "--json")
    assert result.returncode == 0, result.stderr
    result = json.loads(result.stdout)
    assert result["snapshot_name"].startswith("dev-x--")
    assert result["sha"]
    assert result["identity"].startswith(result["snapshot_name"][-12:])
    assert result["context"]["parts"]


def test_every_command_explains_itself() -> None:
    for main in (daytona_test.main, snapshot_daytona.main, snapshots.main):
        with pytest.raises(SystemExit) as caught:
            main(["--help"])
        assert caught.value.code == 0


def test_a_branch_may_look_like_an_option() -> None:
    """Of a subcommand, too: what was published under that name can be retired."""
    options = make_parser("").parse_args(["retire", "--for-branch", "-x", "--yes"])
    assert (options.branch, options.yes) == ("-x", True)
    assert snapshot_daytona.make_parser().parse_args(["--for-branch", "-x"]).for_branch == "-x"
