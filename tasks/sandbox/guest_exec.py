"""`docker exec`'s manners where only a shell that merges its streams is offered.

Daytona's exec pipes a text into a shell and answers with what that wrote, as text. So the text
sent starts a small Python program (every sandbox image has it) that runs the command with its
own user, folder, environment and input, keeps the streams apart, and answers in JSON.
Standard library only, on both sides.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PREFIX: Final = "iterate-exec:"

#: Streams go to memory, not to pipes: nothing waits for whoever holds one open.
_RUNNER: Final = r"""
import base64, json, os, pwd, subprocess, sys
want = json.loads(base64.b64decode(sys.stdin.readline()))
env = {k: v for k, v in os.environ.items() if k not in ("SHLVL", "PWD", "OLDPWD", "_")}
args, user, me = want["args"], want["user"], pwd.getpwuid(os.getuid())
home = me.pw_dir
if user != me.pw_name:
    try:
        home = pwd.getpwnam(user).pw_dir
    except KeyError:
        home = "/"
    env["HOME"] = home
env.setdefault("HOME", home)
env.update(want["env"])
if user != me.pw_name:
    given = [k + "=" + v for k, v in env.items()]
    args = ["sudo", "-n", "-u", user, "--", "/usr/bin/env", "-i", *given, *args]
def memory(content=b""):
    fd = os.memfd_create("exec")
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
out, err = memory(), memory()
stdin = memory(base64.b64decode(want["stdin"])) if want["stdin"] else subprocess.DEVNULL
timed_out, status = False, 127
try:
    child = subprocess.Popen(args, stdin=stdin, stdout=out, stderr=err, env=env,
                             cwd=want["cwd"], start_new_session=True)
    try:
        status = child.wait(want["timeout"])
        status = status if status >= 0 else 128 - status
    except subprocess.TimeoutExpired:
        timed_out, status = True, 124
except OSError as error:
    os.write(err, str(error).encode() + b"\n")
    status = 127 if isinstance(error, FileNotFoundError) else 126
def content(fd):
    return base64.b64encode(os.pread(fd, os.fstat(fd).st_size, 0)).decode()
said = {"status": status, "timed_out": timed_out, "out": content(out), "err": content(err)}
print("\n" + want["prefix"] + json.dumps(said), flush=True)
"""


@dataclass(frozen=True, kw_only=True)
class Result:
    status: int
    stdout: bytes
    stderr: bytes
    timed_out: bool


def script(
    args: Sequence[str],
    *,
    user: str,
    env: Mapping[str, str],
    cwd: str | None,
    stdin: bytes,
    timeout: float,
) -> str:
    """Shell text that runs `args` and prints what `parse` reads. Of any length: no argument list
    carries it.
    """
    wanted = {
        "args": list(args),
        "user": user,
        "env": dict(env),
        "cwd": cwd,
        "stdin": base64.b64encode(stdin).decode(),
        "timeout": timeout,
        "prefix": _PREFIX,
    }
    start = "import base64, sys; exec(base64.b64decode(sys.stdin.readline()))"
    program = base64.b64encode(_RUNNER.encode()).decode()
    payload = base64.b64encode(json.dumps(wanted).encode()).decode()
    return f"/usr/bin/python3 -I -S -c '{start}' <<'ITERATE'\n{program}\n{payload}\nITERATE\n"


def parse(text: str) -> Result | None:
    """What `script` printed; None when it did not come to that."""
    lines = [line for line in text.splitlines() if line.startswith(_PREFIX)]
    if not lines:
        return None
    try:
        said = json.loads(lines[-1].removeprefix(_PREFIX))
        return Result(
            status=int(said["status"]),
            stdout=base64.b64decode(said["out"]),
            stderr=base64.b64decode(said["err"]),
            timed_out=bool(said["timed_out"]),
        )
    except (ValueError, KeyError, TypeError):
        return None
