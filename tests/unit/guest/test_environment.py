"""What services, shells and agents get, as text: a real shell evaluates it and runs none of it."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING

import environment
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base import loopback

if TYPE_CHECKING:
    from pathlib import Path

SHELLS = [path for path in map(shutil.which, ("bash", "dash", "sh")) if path]
#: Values that do harm where a shell evaluates, splits, matches or counts.
HOSTILE = ("a[$(touch CANARY)]", "$(touch CANARY)", "`touch CANARY`", "*", "1", "-x", "/dev/null")


class Home:
    """A home folder with an `.env`, and what the program says of it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.env_file = folder / environment.ENV_FILE
        self.problems_file = folder / "environment.json"
        self.fallback = folder / "run"
        self.env_file.parent.mkdir()
        self.fallback.mkdir()
        monkeypatch.setattr(environment, "PROBLEMS_FILE", str(self.problems_file))
        monkeypatch.setattr(environment, "FALLBACK", str(self.fallback))
        for name in list(os.environ):
            if name.lower().endswith("_proxy") or name in environment.SECRETS:
                monkeypatch.delenv(name)
        monkeypatch.setenv("HOME", str(folder))
        self.monkeypatch = monkeypatch

    def problems(self) -> list[str]:
        record = json.loads(self.problems_file.read_text())
        assert {problem["step"] for problem in record["problems"]} <= {"environment"}
        return [problem["message"] for problem in record["problems"]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    return Home(tmp_path, monkeypatch)


@pytest.fixture
def text(capfdbinary: pytest.CaptureFixture[bytes]) -> ShellText:
    return ShellText(capfdbinary)


class ShellText:
    """Runs the program; remembers what it wrote to stderr."""

    def __init__(self, capture: pytest.CaptureFixture[bytes]) -> None:
        self._capture = capture
        self.stderr = ""

    def __call__(self, *arguments: str) -> str:
        self._capture.readouterr()
        assert environment.main(*arguments) == 0
        stdout, stderr = self._capture.readouterr()
        self.stderr = stderr.decode()
        return stdout.decode()


def evaluate(text: str, shell: str = SHELLS[0], **variables: str) -> dict[str, str]:
    """The environment of what a shell starts after it evaluated `text`."""
    script = 'eval "$1"; exec env -0'
    answer = subprocess.run(
        [shell, "-eu", "-c", script, shell, text],
        env={**os.environ, **variables}, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    assert answer.stderr == b""
    pairs = answer.stdout.decode().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair)


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_gets_the_values_as_they_stand(home: Home, text: ShellText, shell: str) -> None:
    home.env_file.write_text(
        "GREETING=hello brave world\nKEY=a$b&c#d\nRUN=$(touch CANARY)`touch CANARY`\n"
        "MULTI='one\ntwo'\nQUOTE=it's\nGRUß=x\nUMLAUT=grüße\nLAST=1"
    )
    variables = evaluate(text("shell"), shell)
    assert variables["GREETING"] == "hello brave world"
    assert variables["KEY"] == "a$b&c#d"
    assert variables["RUN"] == "$(touch CANARY)`touch CANARY`"
    assert variables["MULTI"] == "one\ntwo"
    assert variables["QUOTE"] == "it's"
    assert variables["UMLAUT"] == "grüße"
    assert variables["LAST"] == "1"


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_any_value_passes_a_shell_unchanged(value: str) -> None:
    assert evaluate(environment.shell_text({"NAME": value}, without=[]))["NAME"] == value


#: Bash's manual, "Shell Variables", and what the dynamic linker reads.
SHELL_VARIABLES = """
    _ BASH BASHOPTS BASHPID BASH_ALIASES BASH_ARGC BASH_ARGV BASH_ARGV0 BASH_CMDS BASH_COMMAND
    BASH_COMPAT BASH_ENV BASH_EXECUTION_STRING BASH_LINENO BASH_LOADABLES_PATH BASH_MONOSECONDS
    BASH_REMATCH BASH_SOURCE BASH_SUBSHELL BASH_TRAPSIG BASH_VERSINFO BASH_VERSION BASH_XTRACEFD
    CDPATH CHILD_MAX COLUMNS COMP_CWORD COMP_KEY COMP_LINE COMP_POINT COMP_TYPE COMP_WORDBREAKS
    COMP_WORDS COMPREPLY COPROC DIRSTACK EMACS ENV EPOCHREALTIME EPOCHSECONDS EUID EXECIGNORE
    FCEDIT FIGNORE FUNCNAME FUNCNEST GLOBIGNORE GLOBSORT GROUPS HISTCMD HISTCONTROL HISTFILE
    HISTFILESIZE HISTIGNORE HISTSIZE HISTTIMEFORMAT HOME HOSTFILE HOSTNAME HOSTTYPE IFS IGNOREEOF
    INPUTRC INSIDE_EMACS LANG LC_ALL LC_CTYPE LC_MESSAGES LD_AUDIT LD_LIBRARY_PATH LD_PRELOAD
    LINENO LINES MACHTYPE MAIL MAILCHECK MAILPATH MAPFILE OLDPWD OPTARG OPTERR OPTIND OSTYPE PATH
    PIPESTATUS POSIXLY_CORRECT PPID PROMPT_COMMAND PROMPT_DIRTRIM PS0 PS1 PS2 PS3 PS4 PWD RANDOM
    READLINE_ARGUMENT READLINE_LINE READLINE_MARK READLINE_POINT REPLY SECONDS SHELL SHELLOPTS
    SHLVL SRANDOM TIMEFORMAT TMOUT TMPDIR UID auto_resume histchars
""".split()  # noqa: SIM905 - shorter than a hundred strings


@pytest.mark.parametrize("value", HOSTILE)
def test_no_name_makes_a_shell_run_or_repeat_a_value(
    home: Home, text: ShellText, value: str, tmp_path: Path
) -> None:
    """Bash evaluates a value for RANDOM as arithmetic, and so what that holds; others stop it."""
    canary = tmp_path / "canary"
    value = value.replace("CANARY", str(canary))
    home.env_file.write_text("".join(f"{n}={value}\n" for n in SHELL_VARIABLES) + "GOOD=1\n")
    script = """
        eval "$1"
        outer() { inner; }
        inner() { ls / >/dev/null; }
        outer
        words='a b'
        set -- $words
        echo "$GOOD $# $HOME"
    """
    for shell in SHELLS:
        answer = subprocess.run(
            [shell, "-eu", "-c", script, shell, text("shell")],
            check=False, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (answer.stdout, answer.stderr) == (f"1 2 {home.folder}\n", "")
    assert not canary.exists()


@pytest.mark.parametrize(
    "name",
    ["PATH", "HOME", "SHELL", "LD_PRELOAD", "LD_LIBRARY_PATH", "BASH_ENV", "ENV", "IFS", "SECONDS",
     "PROMPT_COMMAND", "TMPDIR", "XDG_DATA_HOME", "BUN_BE_BUN", "S6DIR", "LC_ALL"],
)  # fmt: skip
def test_a_name_that_the_sandbox_needs_is_left_out_and_said(
    home: Home, text: ShellText, name: str
) -> None:
    home.env_file.write_text(f"A=1\n{name}=canary\nB=2\n")
    variables = evaluate(text("service", "opencode"))
    assert (variables["A"], variables["B"]) == ("1", "2")
    assert variables.get(name) != "canary"
    (problem,) = home.problems()
    assert "without line 2 (a name that the sandbox needs itself)" in problem
    assert "canary" not in problem + text.stderr


def test_python_and_node_settings_are_for_what_the_user_runs(home: Home, text: ShellText) -> None:
    home.env_file.write_text("PYTHONPATH=src\nNODE_OPTIONS=--max-old-space-size=4096\n")
    variables = evaluate(text("service", "opencode"))
    assert variables["PYTHONPATH"] == "src"
    assert home.problems() == []


def test_the_file_takes_precedence_over_the_container(home: Home, text: ShellText) -> None:
    home.env_file.write_text("KEY=of the file\n")
    assert evaluate(text("shell"), KEY="of the container")["KEY"] == "of the file"


def test_a_bad_line_is_noted_without_its_content(home: Home, text: ShellText) -> None:
    home.env_file.write_text("A=1\nsome canary words\nB='canary\nC=3\n")
    variables = evaluate(text("service", "iterate-daemon"))
    assert (variables["A"], variables["C"]) == ("1", "3")
    (problem,) = home.problems()
    assert problem.startswith("~/.iterate/.env is loaded without lines 2, 3 (")
    assert " → correct it, then restart" in problem
    assert text.stderr == f"environment: {problem}\n"
    assert "canary" not in text.stderr


def test_a_corrected_file_ends_the_problem(home: Home, text: ShellText) -> None:
    home.env_file.write_text("bad line")
    text("service", "opencode")
    assert home.problems()
    home.env_file.write_text("GOOD=line")
    text("service", "opencode")
    assert home.problems() == []
    assert text.stderr == ""


def test_a_directory_in_its_place_costs_the_settings_only(home: Home, text: ShellText) -> None:
    home.env_file.mkdir()
    variables = evaluate(text("service", "opencode"))
    assert len(variables["OPENCODE_SERVER_PASSWORD"]) >= 32
    assert "is a directory" in home.problems()[0]


def test_a_shell_says_nothing_to_a_log(home: Home, text: ShellText) -> None:
    home.env_file.write_text("bad line")
    text("shell")
    assert text.stderr == ""
    assert not home.problems_file.exists()


# ── secrets ─────────────────────────────────────────────────────────────────────────────────

TOKEN, PASSWORD = environment.SECRETS


@pytest.mark.parametrize(
    ("arguments", "secrets"),
    [
        (("service", "iterate-daemon"), {TOKEN, PASSWORD}),
        (("service", "opencode"), {PASSWORD}),
        (("service", "another"), set()),
        (("shell",), set()),
        (("shell", "claude"), set()),
        (("shell", "pi"), set()),
    ],
)
@pytest.mark.parametrize("place", ["container", "file", "nowhere"])
def test_each_gets_its_own_secrets_and_no_other(
    home: Home, text: ShellText, arguments: tuple[str, ...], secrets: set[str], place: str
) -> None:
    variables = {TOKEN: "a-token", PASSWORD: "a-password"}
    if place == "container":
        for name, value in variables.items():
            home.monkeypatch.setenv(name, value)
    elif place == "file":
        home.env_file.write_text("".join(f"{n}={v}\n" for n, v in variables.items()))
    result = evaluate(text(*arguments), **(variables if place == "container" else {}))
    assert set(variables) & set(result) == secrets
    for name in secrets:
        assert place == "nowhere" or result[name] == variables[name]


def test_a_secret_that_is_passed_to_opencode_by_hand_stays(home: Home, text: ShellText) -> None:
    """Without it the server would be open to everybody."""
    home.monkeypatch.setenv(PASSWORD, "mine")
    result = evaluate(text("shell", "opencode"), **{PASSWORD: "mine", TOKEN: "token"})
    assert result[PASSWORD] == "mine"
    assert TOKEN not in result
    assert result["SHELL"].endswith("/shell/bash")


@pytest.mark.parametrize("content", [None, b"", b" \n"])
def test_a_secret_is_made_once_for_all(home: Home, text: ShellText, content: bytes | None) -> None:
    """An empty file is none: OpenCode would take it for no password."""
    path = home.env_file.with_name("opencode-password")
    if content is not None:
        path.write_bytes(content)
    first = evaluate(text("service", "opencode"))[PASSWORD]
    assert len(first) >= 32
    assert path.read_text() == first
    assert content is not None or stat.S_IMODE(path.stat().st_mode) == 0o600
    assert evaluate(text("service", "iterate-daemon"))[PASSWORD] == first
    assert {entry.name for entry in path.parent.iterdir()} == {"opencode-password", "daemon-token"}


@pytest.mark.parametrize("blank", ["", " ", "\t\n"])
def test_a_blank_secret_is_none(home: Home, text: ShellText, blank: str) -> None:
    home.monkeypatch.setenv(PASSWORD, blank)
    assert len(evaluate(text("service", "opencode"))[PASSWORD]) >= 32


def test_where_the_folder_cannot_be_used_secrets_are_elsewhere(home: Home, text: ShellText) -> None:
    home.env_file.parent.rmdir()
    home.env_file.parent.write_text("not a folder")
    password = evaluate(text("service", "opencode"))[PASSWORD]
    assert (home.fallback / "opencode-password").read_text() == password
    assert any(f"opencode-password is in {home.fallback}" in text for text in home.problems())
    assert password not in text.stderr


def test_without_any_place_for_a_secret_the_service_is_not_started(home: Home) -> None:
    """Its `run` ends with the program's status."""
    home.env_file.parent.rmdir()
    home.env_file.parent.write_text("not a folder")
    home.fallback.rmdir()
    home.fallback.write_text("not a folder either")
    with pytest.raises(OSError, match="Not a directory"):
        environment.main("service", "opencode")


# ── proxies ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("place", ["container", "file"])
def test_where_a_proxy_is_set_loopback_is_exempt(home: Home, text: ShellText, place: str) -> None:
    variables = {"https_proxy": "http://proxy.example:3128", "no_proxy": ".corp.example"}
    if place == "file":
        home.env_file.write_text("".join(f"{n}={v}\n" for n, v in variables.items()))
    else:
        for name, value in variables.items():
            home.monkeypatch.setenv(name, value)
    result = evaluate(text("shell"))
    for name in ("no_proxy", "NO_PROXY"):
        assert result[name].split(",") == [".corp.example", *loopback.HOSTS]


def test_where_none_is_set_nothing_is_added(home: Home, text: ShellText) -> None:
    home.env_file.write_text("no_proxy=.corp.example\n")
    assert evaluate(text("shell"))["no_proxy"] == ".corp.example"
    assert "NO_PROXY" not in text("shell")
