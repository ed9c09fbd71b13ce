"""A job's token reaches its own git server, and nothing else: no argument, file, log or error."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

import psutil
import pytest

from tasks.daytona import ledger
from tasks.daytona.ledger import Ledger, LedgerFailed
from tasks.git import remotes
from tests.support import git_http, repos

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.git_http import GitServer

TOKEN = "ghs_SecretSecretSecretSecretSecret01"
BASIC = base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitServer]:
    root = tmp_path / "served"
    root.mkdir()
    repos.git(root, "init", "-q", "--bare", "book.git")
    for name in [n for n in os.environ if n.startswith(("GITHUB_", "GIT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    with git_http.serving(root, user="x-access-token", password=TOKEN) as running:
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        monkeypatch.setenv("GITHUB_SERVER_URL", running.url)
        monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
        yield running


def book(server: GitServer, tmp_path: Path, machine: str = "one") -> Ledger:
    return Ledger(tmp_path / machine / "ledger.git", remote=f"{server.url}/book.git")


def move_to(name: str) -> ledger.Entry:
    return ledger.entry(snapshot=name, sha="0" * 40, identity="1" * 64, why="publish", branch="b")


def files(at: Path) -> bytes:
    return b"".join(path.read_bytes() for path in at.rglob("*") if path.is_file())


def test_the_ledger_moves_with_it(server: GitServer, tmp_path: Path) -> None:
    mine = book(server, tmp_path)
    assert mine.move("dev-b", move_to("a"))
    assert mine.move("dev-b", move_to("b"))
    there = book(server, tmp_path, "two")
    there.refresh()
    assert [e.snapshot for e in there.history("dev-b")] == ["b", "a"]
    tip = there.tip("dev-b")
    assert tip
    assert there.drop("dev-b", expected=tip)
    assert repos.git(server.root / "book.git", "for-each-ref") == ""
    assert set(filter(None, server.authorizations)) == {f"basic {BASIC}"}
    assert TOKEN.encode() not in files(tmp_path)
    assert BASIC.encode() not in files(tmp_path)


def test_a_wrong_one_is_refused_without_being_shown(
    server: GitServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    wrong = "ghs_WrongWrongWrongWrongWrongWrong02"
    monkeypatch.setenv("GITHUB_TOKEN", wrong)
    monkeypatch.setenv("GIT_TRACE_CURL", "1")
    monkeypatch.setenv("GIT_CURL_VERBOSE", "1")
    with pytest.raises(LedgerFailed) as caught:
        book(server, tmp_path).move("dev-b", move_to("a"))
    shown = f"{caught.value} {caught.value.__cause__!r} {''.join(capfd.readouterr())}"
    assert wrong not in shown
    assert base64.b64encode(f"x-access-token:{wrong}".encode()).decode() not in shown
    assert "cannot be read" in str(caught.value)


def test_a_header_in_the_configuration_does_not_double_it(
    server: GitServer, tmp_path: Path
) -> None:
    """As actions/checkout leaves it with persist-credentials; two of them are refused."""
    key = f"http.{server.url}/.extraheader"
    repos.git(tmp_path, "config", "--file", str(tmp_path / ".gitconfig"), key,
              f"AUTHORIZATION: basic {BASIC}")  # fmt: skip
    assert book(server, tmp_path).move("dev-b", move_to("a"))


def test_it_is_in_no_process_list(server: GitServer, tmp_path: Path) -> None:
    shown: list[str] = []

    def look() -> None:
        shown.extend(
            " ".join(one.info["cmdline"] or []) for one in psutil.process_iter(["cmdline"])
        )

    server.meanwhile = look
    book(server, tmp_path).move("dev-b", move_to("a"))
    seen = "\n".join(shown)
    assert "--force-with-lease=refs/sandbox/ledger/dev-b" in seen
    assert TOKEN not in seen
    assert BASIC not in seen


def test_a_server_that_repeats_it(
    server: GitServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Git prints what a server says about a refusal."""
    server.indiscreet = True
    with pytest.raises(LedgerFailed) as caught:
        book(server, tmp_path).refresh()
    assert server.authorizations == [f"basic {BASIC}"]
    error: BaseException | None = caught.value
    shown = "".join(capfd.readouterr())
    while error is not None:
        shown += f"{error} {vars(error)}"
        error = error.__cause__ or error.__context__
    assert "you are not" in shown
    assert TOKEN not in shown
    assert BASIC not in shown


def test_a_server_that_leads_elsewhere(server: GitServer, tmp_path: Path) -> None:
    with git_http.serving(server.root, user="x", password="y") as other:
        server.redirect = other.url
        with pytest.raises(LedgerFailed):
            book(server, tmp_path).refresh()
        assert server.authorizations == [f"basic {BASIC}"]
        assert set(other.authorizations) == {None}


@pytest.mark.parametrize(
    "change",
    [
        {"GITHUB_ACTIONS": ""},
        {"GITHUB_ACTIONS": "false"},
        {"GITHUB_TOKEN": ""},
        {"GITHUB_TOKEN": "a\nHost: evil"},
        {"GITHUB_SERVER_URL": "http://git.example"},
        {"GITHUB_SERVER_URL": "ftp://git.example"},
    ],
    ids=str,
)
def test_where_it_is_not_sent(change: dict[str, str]) -> None:
    given = {"GITHUB_ACTIONS": "true", "GITHUB_TOKEN": TOKEN}
    assert remotes.authorization(given)
    assert remotes.authorization({**given, **change}) == []


def test_to_its_own_server_alone(
    server: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.com")
    with pytest.raises(LedgerFailed):
        book(server, tmp_path).refresh()
    assert set(server.authorizations) == {None}
