"""Git that talks to a remote: how the user reaches it stays the user's affair, hooks do not run.

In a job of GitHub Actions the checkout keeps no credentials (`persist-credentials: false`); the
job's token reaches git through its environment: it is in no argument, no file, no address, and it
is sent to the job's own server alone.
"""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from tasks import git
from tasks.base import addresses, ci, process, redaction
from tasks.base.errors import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TOKEN: Final = "GITHUB_TOKEN"  # noqa: S105 - a variable's name
SERVER: Final = "GITHUB_SERVER_URL"
NAME: Final = "iterate-sandbox"
_EMAIL: Final = "ledger@iterate-sandbox.invalid"
_KEPT: Final = ("GIT_SSH_COMMAND", "GIT_SSH", "GIT_ASKPASS", "GIT_SSL_CAINFO")
_TIMEOUT: Final = 60.0


def run(
    git_dir: Path | None, *args: str, stdin: str = "", who: str = NAME, email: str = _EMAIL
) -> str:
    """The output of a git command; a failure is `CommandFailed`, without the token in it."""
    env: dict[str, str | None] = {name: None for name in os.environ if name.startswith("GIT_")}
    env |= {name: os.environ[name] for name in _KEPT if name in os.environ}
    env |= {
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": who or NAME,
        "GIT_AUTHOR_EMAIL": email,
        "GIT_COMMITTER_NAME": NAME,
        "GIT_COMMITTER_EMAIL": email,
    }
    access = authorization(os.environ)
    env |= git.configured(access)
    at = ["--git-dir", str(git_dir)] if git_dir else []
    command = ["git", "-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0",
               "-c", "commit.gpgSign=false", "-c", "color.ui=false", *at, *args]  # fmt: skip
    try:
        result = process.capture(command, env=env, stdin=stdin.encode(), timeout=_TIMEOUT)
    except CommandFailed as error:
        failure = error
    else:
        return result.stdout.decode(errors="replace")
    # Git prints what a server says, and a server may say what it was shown. Raised out here, so
    # that not even a context of the exception has it.
    secrets = [os.environ.get(TOKEN, ""), *(value.split()[-1] for _, value in access if value)]
    raise CommandFailed(
        redaction.redact(failure.what, secrets),
        status=failure.status,
        output=redaction.redact(failure.output, secrets),
    )


def authorization(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """Git settings that show the job's token to its server; none outside of a job, or without one.

    As actions/checkout does it. The empty value takes out what a configuration may have set: two
    such headers are refused.
    """
    token = environment.get(TOKEN, "").strip()
    server = environment.get(SERVER, "").strip().rstrip("/") or "https://github.com"
    if not token or not ci.is_github_job(environment):
        return []
    parts = urlsplit(server)
    safe = parts.scheme == "https" or addresses.is_loopback(parts.hostname or "")
    if not safe or not token.isascii() or not token.isprintable():
        return []
    basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    name = f"http.{server}/.extraheader"
    return [(name, ""), (name, f"AUTHORIZATION: basic {basic}")]
