"""`~/.iterate/.env` is data: whatever it is, both services come up, and no log repeats it."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

from iterate_daemon.versions import TOOLS

from tasks.base import project
from tests.sandbox.support import ENV_FILE, health, pid, restart, until_ready, variables_of
from tests.sandbox.test_services import SERVICES

if TYPE_CHECKING:
    from tasks.sandbox.provider import Provider
    from tests.sandbox.conftest import Maker

LINES = (
    ("GREETING=hello brave world", "GREETING", "hello brave world"),
    ("LITERAL=a$b&c#d", "LITERAL", "a$b&c#d"),
    ("SPACED = v", "SPACED", "v"),
    ("GIT_AUTHOR_NAME=Ada Lovelace", "GIT_AUTHOR_NAME", "Ada Lovelace"),
    ("export EXPORTED=v", "EXPORTED", "v"),
    ("QUOTED='two words' # a comment", "QUOTED", "two words"),
    ("COMMAND=$(touch /tmp/ran)`touch /tmp/ran`; touch /tmp/ran", "COMMAND",
     "$(touch /tmp/ran)`touch /tmp/ran`; touch /tmp/ran"),
    ("SEVERAL='one\ntwo'", "SEVERAL", "one\ntwo"),
    ("WEB_CONCURRENCY=many", "WEB_CONCURRENCY", "many"),
    ("PYTHONPATH=/nowhere", "PYTHONPATH", "/nowhere"),
    ("PYTHONHOME=/nowhere", "PYTHONHOME", "/nowhere"),
    ("PYTHONWARNINGS=error", "PYTHONWARNINGS", "error"),
    ("LAST=without a newline", "LAST", "without a newline"),
)  # fmt: skip
#: Each line is bad, and holds a secret (%s).
BAD_LINES = (
    "two words %s",
    "=%s",
    "KEY: %s",
    "(%s",
    "$(%s)",
    "A.B=%s",
    "1A=%s",
    "NUL=\0%s",
    "BYTES=\udcff%s",
    'CLOSED="%s" more',
    "OPEN='%s",
    'OPEN="%s',
    "PATH=/%s",
    "HOME=/%s",
    "LD_PRELOAD=/%s.so",
    "BASH_ENV=/%s",
    "ENV=/%s",
    "IFS=%s",
    "TMPDIR=/%s",
    "RANDOM=a[$(touch /tmp/ran)%s]",
    "PS4=$(touch /tmp/ran)%s",
    "SHELLOPTS=%s",
    "LC_ALL=%s",
    "BUN_BE_BUN=%s",
    "SANDBOX_BUN_VERSION=%s",
    "OPENCODE_SERVER_USERNAME=%s",
)


def test_values_reach_services_shells_and_agents_as_they_stand(make: Maker) -> None:
    sandbox = make()
    text = "\ufeff# settings\n\n" + "\n".join(line for line, _, _ in LINES)
    sandbox.write(ENV_FILE, text.replace("\n", "\r\n").encode(), mode=0o600)
    sandbox.restart(grace=3)
    sandbox.wait_until_ready()
    assert health(sandbox)["status"] == "ok"
    shell = sandbox.login("cat /proc/self/environ").stdout
    in_shell = dict(pair.split("=", 1) for pair in shell.split("\0") if pair)
    for variables in (in_shell, *(variables_of(sandbox, pid(sandbox, name)) for name in SERVICES)):
        for _, name, value in LINES:
            assert variables[name] == value
    assert sandbox.exec(["ls", "/tmp/ran"], check=False).exit_code != 0
    for agent in (tool.command for tool in TOOLS if tool.agent):
        assert sandbox.exec([agent, "--version"], timeout=60).ok


def test_a_bad_line_costs_itself_alone_and_is_repeated_nowhere(
    make: Maker, provider: Provider
) -> None:
    sandbox = make()
    canary = f"canary{secrets.token_hex(8)}"
    lines = ["FIRST=one", *(line.replace("%s", canary) for line in BAD_LINES), "LAST=the last"]
    sandbox.write(ENV_FILE, "\n".join(lines).encode("utf-8", "surrogateescape"), mode=0o600)
    sandbox.restart(grace=3)
    sandbox.wait_until_ready()

    answer = health(sandbox)
    assert answer["status"] == "degraded"
    (problem,) = [p["message"] for p in answer["problems"] if p["step"] == "environment"]
    for number in (2, 7, 14):  # the first of a kind
        assert re.search(rf"\b{number}\b", problem)
    assert "restart the sandbox or its services" in problem
    for service in SERVICES:
        variables = variables_of(sandbox, pid(sandbox, service))
        assert (variables["FIRST"], variables["LAST"]) == ("one", "the last")
        assert canary not in str(variables)
        assert problem in sandbox.exec(f"cat /var/log/{service}/current").stdout
    shell = sandbox.login("echo $FIRST, $LAST")
    assert (shell.stdout, shell.stderr) == ("one, the last\n", "")

    sandbox.write("/tmp/pattern", canary.encode(), mode=0o600)
    places = sandbox.exec(
        "grep -rlFf /tmp/pattern /var/log /run /tmp --exclude=pattern; ls /tmp/ran 2>/dev/null;"
        " ps -eo args | grep -Ff /tmp/pattern",
        user="root",
        check=False,
    )
    assert places.stdout == ""
    assert canary not in str(answer)

    if "console" not in provider.not_offered:
        assert canary not in sandbox.console()

    sandbox.write(ENV_FILE, b"FIRST=one\n", mode=0o600)
    restart(sandbox, "iterate-daemon")
    assert health(sandbox)["status"] == "ok"


def test_what_is_not_a_text_file_costs_the_settings_only(make: Maker) -> None:
    sandbox = make()
    for script, reason in (
        ("mkfifo $F", "is not a regular file"),
        ("ln -s /nowhere $F", "leads nowhere"),
        ("echo A=1 >$F; sudo chown root:root $F; sudo chmod 600 $F", "Permission denied"),
        ("truncate -s 100G $F", "is larger than"),
        ("head -c 100000 /dev/urandom >$F", "is loaded without line"),
        ("printf '\\377\\376A\\0=\\0001\\0' >$F", "UTF-16"),
        ("mkdir $F", "is a directory"),
    ):
        sandbox.exec(f"F={ENV_FILE}; rm -f $F; {script}")
        restart(sandbox, "iterate-daemon")
        answer = health(sandbox)
        assert answer["status"] == "degraded"
        assert reason in answer["problems"][0]["message"]
    assert sandbox.login("echo fine").stdout == "fine\n"
    restart(sandbox, "opencode")
    until_ready(sandbox)


def test_a_folder_that_cannot_be_written_costs_nothing_but_its_place(make: Maker) -> None:
    sandbox = make()
    folder = f"{project.HOME}/.iterate"
    sandbox.exec(f"rm -r {folder}; sudo install -d -o root {folder}")
    restart(sandbox, *SERVICES)
    until_ready(sandbox)
    assert "/run/iterate" in str(health(sandbox)["problems"])
    assert len(sandbox.exec(["cat", "/run/iterate/opencode-password"]).stdout) >= 32
