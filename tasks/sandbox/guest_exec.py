"""Commands run as `docker exec` runs them, where only a shell that merges its streams is offered.

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

from tasks.base.parsing import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PREFIX: Final = "iterate-exec:"

#: Streams go to memory, not to pipes: nothing waits for whoever holds one open.
_RUNNER: Final = r"""
import base64, json, os, pwd, subprocess, sys
request = json.loads(base64.b64decode(sys.stdin.readline()))
env = {k: v for k, v in os.environ.items() if k not in ("SHLVL", "PWD", "OLDPWD", "_")}
args, user, account = request["args"], request["user"], pwd.getpwuid(os.getuid())
home = account.pw_dir
if user != account.pw_name:
    try:
        home = pwd.getpwnam(user).pw_dir
    except KeyError:
        home = "/"
    env["HOME"] = home
env.setdefault("HOME", home)
env.update(request["env"])
if user != account.pw_name:
    variables = [k + "=" + v for k, v in env.items()]
    args = ["sudo", "-n", "-u", user, "--", "/usr/bin/env", "-i", *variables, *args]
def memory(content=b""):
    fd = os.memfd_create("exec")
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
out, err = memory(), memory()
stdin = memory(base64.b64decode(request["stdin"])) if request["stdin"] else subprocess.DEVNULL
timed_out, status = False, 127
try:
    child = subprocess.Popen(args, stdin=stdin, stdout=out, stderr=err, env=env,
                             cwd=request["cwd"], start_new_session=True)
    try:
        status = child.wait(request["timeout"])
        status = status if status >= 0 else 128 - status
    except subprocess.TimeoutExpired:
        timed_out, status = True, 124
except OSError as error:
    os.write(err, str(error).encode() + b"\n")
    status = 127 if isinstance(error, FileNotFoundError) else 126
def content(fd):
    return base64.b64encode(os.pread(fd, os.fstat(fd).st_size, 0)).decode()
reply = {"status": status, "timed_out": timed_out, "out": content(out), "err": content(err)}
print("\n" + request["prefix"] + json.dumps(reply), flush=True)
"""


@dataclass(frozen=True, kw_only=True)
class GuestResult:
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
    request = {
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
    payload = base64.b64encode(json.dumps(request).encode()).decode()
    return f"/usr/bin/python3 -I -S -c '{start}' <<'ITERATE'\n{program}\n{payload}\nITERATE\n"


def parse(text: str) -> GuestResult | None:
    """What `script` printed; None when it did not come to that."""
    lines = [line for line in text.splitlines() if line.startswith(_PREFIX)]
    if not lines:
        return None
    try:
        reply = parse_json(lines[-1].removeprefix(_PREFIX))
        return GuestResult(
            status=int(reply["status"]),
            stdout=base64.b64decode(reply["out"]),
            stderr=base64.b64decode(reply["err"]),
            timed_out=bool(reply["timed_out"]),
        )
    except (ValueError, KeyError, TypeError):
        return None
