"""A job's token reaches its own git server, and nothing else: no argument, file, log or error."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

import psutil
import pytest

from tasks.daytona.ledger import Ledger
from tasks.daytona.ledger_entry import LedgerEntry, new_entry
from tasks.daytona.ledger_store import LedgerFailed
from tasks.git import remotes
from tests.support import git_http, ledgers, repos

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


def move_to(name: str) -> LedgerEntry:
    return new_entry(snapshot=name, sha="0" * 40, identity="1" * 64, reason="publish", branch="b")


def files(at: Path) -> bytes:
    return b"".join(path.read_bytes() for path in at.rglob("*") if path.is_file())


def test_the_ledger_is_moved_with_the_token(server: GitServer, tmp_path: Path) -> None:
    ledger_here = book(server, tmp_path)
    assert ledgers.move(ledger_here, "dev-b", move_to("a"))
    assert ledgers.move(ledger_here, "dev-b", move_to("b"))
    ledger_elsewhere = book(server, tmp_path, "two")
    ledger_elsewhere.refresh()
    assert [e.snapshot for e in ledger_elsewhere.history("dev-b")] == ["b", "a"]
    tip = ledger_elsewhere.tip("dev-b")
    assert tip
    assert ledger_elsewhere.drop("dev-b", expected=tip)
    assert repos.git(server.root / "book.git", "for-each-ref") == ""
    assert set(filter(None, server.authorizations)) == {f"basic {BASIC}"}
    assert TOKEN.encode() not in files(tmp_path)
    assert BASIC.encode() not in files(tmp_path)


def test_a_wrong_token_is_refused_without_being_shown(
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
        ledgers.move(book(server, tmp_path), "dev-b", move_to("a"))
    output = f"{caught.value} {caught.value.__cause__!r} {''.join(capfd.readouterr())}"
    assert wrong not in output
    assert base64.b64encode(f"x-access-token:{wrong}".encode()).decode() not in output
    assert "cannot be read" in str(caught.value)


def test_a_header_in_the_configuration_does_not_double_the_token(
    server: GitServer, tmp_path: Path
) -> None:
    """As actions/checkout leaves it with persist-credentials; two of them are refused."""
    key = f"http.{server.url}/.extraheader"
    repos.git(tmp_path, "config", "--file", str(tmp_path / ".gitconfig"), key,
              f"AUTHORIZATION: basic {BASIC}")  # fmt: skip
    assert ledgers.move(book(server, tmp_path), "dev-b", move_to("a"))


def test_the_token_is_in_no_process_list(server: GitServer, tmp_path: Path) -> None:
    commands: list[str] = []

    def look() -> None:
        commands.extend(
            " ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])
        )

    server.meanwhile = look
    ledgers.move(book(server, tmp_path), "dev-b", move_to("a"))
    listed = "\n".join(commands)
    assert "--force-with-lease=refs/sandbox/ledger/dev-b" in listed
    assert TOKEN not in listed
    assert BASIC not in listed


def test_a_server_that_repeats_the_token_is_redacted(
    server: GitServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Git prints what a server says about a refusal."""
    server.indiscreet = True
    with pytest.raises(LedgerFailed) as caught:
        book(server, tmp_path).refresh()
    assert server.authorizations == [f"basic {BASIC}"]
    error: BaseException | None = caught.value
    output = "".join(capfd.readouterr())
    while error is not None:
        output += f"{error} {vars(error)}"
        error = error.__cause__ or error.__context__
    assert "you are not" in output
    assert TOKEN not in output
    assert BASIC not in output


def test_a_redirect_does_not_get_the_token(server: GitServer, tmp_path: Path) -> None:
    with git_http.serving(server.root, user="x", password="y") as foreign_server:
        server.redirect = foreign_server.url
        with pytest.raises(LedgerFailed):
            book(server, tmp_path).refresh()
        assert server.authorizations == [f"basic {BASIC}"]
        assert set(foreign_server.authorizations) == {None}


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
def test_the_token_is_not_sent_outside_of_a_job_or_without_https(change: dict[str, str]) -> None:
    environment = {"GITHUB_ACTIONS": "true", "GITHUB_TOKEN": TOKEN}
    assert remotes.authorization(environment)
    assert remotes.authorization({**environment, **change}) == []


def test_the_token_is_sent_to_its_own_server_alone(
    server: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.com")
    with pytest.raises(LedgerFailed):
        book(server, tmp_path).refresh()
    assert set(server.authorizations) == {None}
