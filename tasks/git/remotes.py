"""Git that talks to a remote. How the user reaches it is the user's own affair, so git reads the
user's configuration here; it does not read a repository's, which could name programs: what only
that says of a proxy, an ssh command or a credential helper does not count.

In a job of GitHub Actions the checkout keeps no credentials (`persist-credentials: false`); the
job's token reaches git through its environment: it is in no argument, no file, no address, and it
is sent to the job's own server alone.
"""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from tasks.base import addresses, ci, process, project, redaction
from tasks.base.errors import CommandFailed
from tasks.git import isolation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tasks.git import Repo
    from tasks.git.isolation import IsolatedGitDir

TOKEN: Final = "GITHUB_TOKEN"  # noqa: S105 - a variable's name
SERVER: Final = "GITHUB_SERVER_URL"
NAME: Final = project.SLUG
_EMAIL: Final = f"ledger@{project.SLUG}.invalid"
#: The user's own means of access, and transports that are allowed beside the usual ones.
_USER_VARIABLES: Final = (
    "GIT_SSH_COMMAND", "GIT_SSH", "GIT_ASKPASS", "GIT_SSL_CAINFO", "GIT_ALLOW_PROTOCOL",
    *isolation.USER_CONFIGURATION,
)  # fmt: skip
#: A remote's address chooses the program that reaches it: these are git's own, others are helpers.
_TRANSPORTS: Final = "file:git:http:https:ssh"
_SETTINGS: Final = (
    ("core.hooksPath", os.devnull),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("commit.gpgSign", "false"),
    ("color.ui", "false"),
    # Submodules would be asked with their own configuration.
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("push.recurseSubmodules", "no"),
)
_TIMEOUT: Final = 60.0


def create_store(path: Path) -> None:
    """Make a bare repository of our own at `path`, without the user's templates."""
    path.mkdir(parents=True, exist_ok=True)
    formats = {"GIT_DEFAULT_HASH": "sha1", "GIT_DEFAULT_REF_FORMAT": "files"}
    env = isolation.environment() | formats
    command = ["git", "init", "--quiet", "--bare", "--template=", "--", str(path)]
    process.capture(command, env=env, timeout=_TIMEOUT)


def open_store(path: Path) -> IsolatedGitDir:
    """The bare repository that `create_store` made at `path`."""
    return isolation.isolate(path, path, bare=True)


def run(
    at: IsolatedGitDir | Repo, *args: str, stdin: str = "", who: str = NAME, email: str = _EMAIL
) -> str:
    """The output of a git command; a failure is `CommandFailed`, without the token in it.

    In a checkout the names of its remotes can be used.
    """
    env = isolation.base_environment()
    env |= {"GIT_ALLOW_PROTOCOL": _TRANSPORTS}
    env |= {name: os.environ[name] for name in _USER_VARIABLES if name in os.environ}
    env |= {
        "GIT_AUTHOR_NAME": who or NAME,
        "GIT_AUTHOR_EMAIL": email,
        "GIT_COMMITTER_NAME": NAME,
        "GIT_COMMITTER_EMAIL": email,
    }
    access = authorization(os.environ)
    isolated = at if isinstance(at, isolation.IsolatedGitDir) else at.isolated
    settings = () if isinstance(at, isolation.IsolatedGitDir) else at.settings
    env |= isolated.environment() | isolation.configured([*settings, *_SETTINGS, *access])
    command = ["git", *args]
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
