"""The stage of whoever works here, where nothing names one."""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import unicodedata
from typing import TYPE_CHECKING, Final

from tasks.base import console, process, stages
from tasks.base.errors import BadInput, TaskError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Each names a stage, or the person whose stage is meant.
_VARIABLES: Final = ("APP_STAGE", "ITERATE_USER")
_LONGEST: Final = 40


def choose_stage(option: str | None, environment: Mapping[str, str] = os.environ) -> str:
    """The option, else APP_STAGE, else dev-$ITERATE_USER, else dev- and the user's name: from USER
    or LOGNAME, from git's user.name, or from the account. Raises `BadInput`.
    """
    if option is not None or any(environment.get(name, "").strip() for name in _VARIABLES):
        return stages.stage_from(option, environment)
    for name, origin in _user_names(environment):
        if name.strip():
            stage = stages.check_stage(f"dev-{_slug(name)}")
            console.step(f"stage: {stage}, after {origin}; --stage names another")
            return stage
    raise BadInput(
        "no stage is given, and nothing here names the user",
        fix="use --stage dev-NAME, or set ITERATE_USER",
    )


def _user_names(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Names, and where each comes from."""
    for variable in ("USER", "LOGNAME", "USERNAME"):
        yield environment.get(variable, ""), variable
    yield _git_name(), "git's user.name"
    try:
        yield pwd.getpwuid(os.getuid()).pw_name, "this account"
    except KeyError:  # a container's user without an account
        yield "", ""


def _git_name() -> str:
    # The user's own configuration, and not that of a repository.
    command = ["git", "config", "--global", "--get", "user.name"]
    try:
        output = process.capture(command, check=False, timeout=10).stdout
    except TaskError:
        return ""
    return output.decode(errors="replace").strip()


def _slug(name: str) -> str:
    """As much of the name as a stage can hold, or a hash of a name that it cannot hold at all."""
    # DOMAIN\user and user@host name a user, too.
    account = name.strip().rpartition("\\")[2].partition("@")[0]
    plain = unicodedata.normalize("NFKD", account).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:_LONGEST].strip("-")
    return slug or hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:8]
