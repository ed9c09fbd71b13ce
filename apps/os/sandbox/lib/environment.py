"""What services, shells and agents find in their environment, as shell text for `eval`.

`environment.py shell` is for login shells, `shell NAME` for an agent that was started without one,
`service NAME` for a service. All of them load `~/.iterate/.env`, which takes precedence over the
container's own environment, and keep loopback requests away from proxies. A service's secret is
given to that service alone. What is wrong with the file is said by line number, and a service also
notes it for the daemon's health.

Every value is quoted, so the shell that evaluates the text runs nothing of it. Names that would
change how that shell works, or what the sandbox's own programs are, are left out; so are the
pins, which say what is installed.
"""

from __future__ import annotations

import base64
import os
import shlex
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

LIB: Final = os.path.dirname(os.path.abspath(__file__))
# Started with -I and -S, so that neither `-e PYTHONPATH` nor a user's packages have a say.
sys.path[:0] = [LIB, f"{LIB}/packages"]

from tasks.base import envfile, loopback  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

ENV_FILE: Final = ".iterate/.env"
PROBLEMS_FILE: Final = "/run/iterate/environment.json"
#: Where a secret is kept if ~/.iterate cannot be written.
FALLBACK: Final = "/run/iterate"
#: Variable → the file in ~/.iterate that holds it, made at the first start.
SECRETS: Final = {
    "ITERATE_DAEMON_TOKEN": "daemon-token",
    "OPENCODE_SERVER_PASSWORD": "opencode-password",
}
#: The daemon asks OpenCode how it is.
SECRETS_OF: Final = {
    "iterate-daemon": tuple(SECRETS),
    "opencode": ("OPENCODE_SERVER_PASSWORD",),
}
#: Tells lib/agent.sh that all this is in the environment already.
MARK: Final = "ITERATE_ENVIRONMENT"

#: The home of root, or of nobody in particular: they share the one of the sandbox's user.
_FOREIGN_HOMES: Final = frozenset({"", "/", "/root"})
_RESERVED_NAMES: Final = frozenset(
    # who the user is, and where programs and folders are
    "HOME LOGNAME OLDPWD PATH PWD SHELL SHLVL TMPDIR USER _ "
    # text that shells run, and what decides how they read and run text
    "CDPATH ENV EXECIGNORE FUNCNEST GLOBIGNORE IFS POSIXLY_CORRECT PROMPT_COMMAND PS0 PS1 PS2 PS4 "
    "SHELLOPTS TMOUT "
    # what Bash keeps itself: it evaluates some as arithmetic, which can run commands
    "DIRSTACK EPOCHREALTIME EPOCHSECONDS EUID FUNCNAME GROUPS HISTCMD LINENO MAILCHECK OPTARG "
    "OPTERR OPTIND PIPESTATUS PPID RANDOM SECONDS SRANDOM UID "
    # makes OpenCode and Claude Code, which are Bun and a program, behave as Bun alone
    "BUN_BE_BUN "
    f"ITERATE_S6_DIR {MARK} OPENCODE_SERVER_USERNAME S6DIR SANDBOX_REPO".split()
)
#: For Bash, for Bun's debugger and engine, for locales (Bash quotes one that it does not have), for
#: the dynamic linker, for folders.
_RESERVED_PREFIXES: Final = ("BASH", "BUN_INSPECT", "BUN_JSC_", "LC_", "LD_", "XDG_")
_RESERVED: Final = "a name that the sandbox needs itself"
_CURE: Final = "correct it, then restart the sandbox or its services"


def main(kind: str, name: str = "") -> int:
    home = os.environ.get("HOME", "")
    if home in _FOREIGN_HOMES:
        home = "/home/iterate"
    file = envfile.read(f"{home}/{ENV_FILE}", environment=os.environ)
    reserved = [a.line for a in file.assignments if is_reserved(a.name)]
    values = {n: value for n, value in file.values.items() if not is_reserved(n)}
    values |= loopback.exempt({**os.environ, **values})
    repo = f"{home}/src/github.com/iterate/iterate"
    values |= {MARK: "1", "SANDBOX_REPO": repo, "S6DIR": f"{repo}/apps/os/sandbox/s6-daemons"}
    if name == "opencode":
        values |= {"SHELL": f"{LIB}/shell/bash", "OPENCODE_SERVER_USERNAME": "opencode"}
    problems = []
    if defects := [*file.defects, *(envfile.Defect(line, _RESERVED) for line in reserved)]:
        problems.append(f"~/{ENV_FILE} {envfile.describe(defects)} → {_CURE}")
    secrets = SECRETS_OF.get(name, ())
    for variable in secrets if kind == "service" else ():
        value = values.get(variable) or os.environ.get(variable, "")
        folders = (f"{home}/.iterate", FALLBACK)
        values[variable], problem = secret(value, SECRETS[variable], *folders)
        problems += [problem] if problem else []
    text = shell_text(values, without=[s for s in SECRETS if s not in secrets])
    sys.stdout.buffer.write(text.encode())
    if kind == "service" or sys.stderr.isatty():
        sys.stderr.writelines(f"environment: {problem}\n" for problem in problems)
    if kind == "service":
        note(problems)
    return 0


def is_reserved(name: str) -> bool:
    is_pin = name.startswith("SANDBOX_") and name.endswith("_VERSION")
    return is_pin or name in _RESERVED_NAMES or name.startswith(_RESERVED_PREFIXES)


def secret(value: str, name: str, *folders: str) -> tuple[str, str]:
    """`value` unless it is blank, else what the file `name` holds, and "" or a problem.

    The file is in the first folder that can hold it, and made there if it is missing. Raises
    `OSError` if none can.
    """
    if value.strip():
        return value, ""
    trouble = OSError("no folder for it")
    for folder in folders:
        file = f"{folder}/{name}"
        try:
            value = _read_secret(file) or _make_secret(file)
        except OSError as error:
            trouble = error
            continue
        if folder == folders[0]:
            return value, ""
        return value, (
            f"{folders[0]} cannot be used ({trouble.strerror}), so {name} is in {folder} instead"
            f" → let uid {os.getuid()} write to {folders[0]}"
        )
    raise trouble


def _read_secret(file: str) -> str:
    try:
        with open(file, encoding="utf-8", errors="replace") as stream:
            return stream.read(4096).strip()
    except FileNotFoundError:
        return ""


def _make_secret(file: str) -> str:
    """Two services may come here at once: they agree on what became the file first."""
    os.makedirs(os.path.dirname(file), mode=0o700, exist_ok=True)
    temporary = f"{file}.{os.urandom(4).hex()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as stream:
        stream.write(base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("="))
    with suppress(OSError):  # it exists by now, or this file system has no links
        os.link(temporary, file)
    if not _read_secret(file):
        os.replace(temporary, file)
    with suppress(FileNotFoundError):
        os.unlink(temporary)
    return _read_secret(file)


def shell_text(values: Mapping[str, str], *, without: Collection[str]) -> str:
    """Statements that any POSIX shell can evaluate."""
    lines = [f"unset {name}" for name in without]
    lines += [
        f"export {name}={shlex.quote(value)}"
        for name, value in values.items()
        if name not in without
    ]
    return "\n".join(lines) + "\n"


def note(problems: list[str]) -> None:
    """For the daemon's health, which reads the file anew at each question."""
    import json  # noqa: PLC0415 - shells start sooner without it

    temporary = f"{PROBLEMS_FILE}.{os.getpid()}"
    record = {"problems": [{"step": "environment", "message": text} for text in problems]}
    try:
        with open(temporary, "w", encoding="utf-8") as stream:
            json.dump(record, stream)
        os.replace(temporary, PROBLEMS_FILE)
    except OSError as error:
        sys.stderr.write(f"environment: cannot write {PROBLEMS_FILE}: {error.strerror}\n")


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except OSError as error:
        sys.stderr.write(
            f"environment: no secret can be kept ({error.strerror}) → let uid {os.getuid()} write"
            f" to ~/.iterate, or set {' and '.join(SECRETS)}\n"
        )
        sys.exit(1)
