"""What Daytona accepts and derives, as pure functions. Seen in server v0.190.0."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NAME: Final = re.compile(
    r"[A-Za-z0-9_.\-:]+(?:/[A-Za-z0-9_.\-:]+)*(?:@sha256:[0-9a-f]{64})?"  # and one @ at the end
)
_REFUSED: Final = re.compile(
    r"<[^<>]*>|[\x00-\x1f\x7f]|www\.|https?://|ftp://|data:|tel:|mailto:|javascript:", re.IGNORECASE
)
_ENTRYPOINT: Final = re.compile(r"ENTRYPOINT\s+(.*)")
#: Run for a snapshot whose Dockerfile names no entry point.
SLEEP: Final = ["sleep", "infinity"]
_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Refused(Exception):
    """The request cannot be carried out; becomes an HTTP error."""

    def __init__(
        self, status: int, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})


def check_name(name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise Refused(400, "name should not be empty, name must be a string")
    if not _NAME.fullmatch(name):
        raise Refused(
            400,
            "Invalid snapshot name format. May only contain letters, digits, dots, colons,"
            " slashes and dashes",
        )
    if _REFUSED.search(name):
        raise Refused(400, "name must not contain HTML, control characters or URLs")
    return name


def check_image_name(image: Any) -> str:
    if not isinstance(image, str) or not image:
        raise Refused(400, "Image name must not be empty")
    last = image.rpartition("/")[2]
    if "@" in image:
        if not re.search(r"@sha256:[a-f0-9]{64}$", image):
            raise Refused(400, "Invalid digest format. Must be image@sha256:64_hex_characters")
        return image
    if ":" not in last:
        raise Refused(400, "Image name must include a tag (e.g., ubuntu:22.04) or digest")
    if image.endswith(":latest"):
        raise Refused(400, 'Images with tag ":latest" are not allowed')
    if not re.fullmatch(r"(?:[\w.-]+(?::\d+)?/)?[a-z0-9._/-]+:[\w][\w.-]{0,127}", image):
        raise Refused(400, "Invalid image name format. Must be lowercase")
    return image


def check_env_names(names: Sequence[str]) -> None:
    for name in names:
        if not _ENV_NAME.fullmatch(name):
            raise Refused(400, f"bad request: invalid environment variable name: {name}")


def build_ref(dockerfile: str, hashes: Sequence[str]) -> str:
    """The name of the image that a build makes: same content, same image."""
    text = dockerfile + "".join(sorted(hashes))
    return f"daytona-{hashlib.sha256(text.encode()).hexdigest()}:daytona"


def pull_ref(digest: str) -> str:
    return f"daytona-{digest.removeprefix('sha256:')}:daytona"


def entrypoint_of(dockerfile: str) -> list[str]:
    """The last thing that looks like an ENTRYPOINT, be it in a comment or an earlier stage."""
    found = _ENTRYPOINT.findall(dockerfile)
    if not found:
        return list(SLEEP)
    text = found[-1].strip()
    try:
        words = json.loads(text)
        if isinstance(words, list) and all(isinstance(w, str) for w in words):
            return words
    except ValueError:
        pass
    return [text.strip("\"'")]


def shell_line(words: Sequence[str]) -> str:
    """How the daemon hands the entry point to its shell: every word in single quotes."""
    return " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)


def matches(labels: Mapping[str, str], wanted: Mapping[str, Any]) -> bool:
    """JSON containment, as Postgres' @> does it for flat objects."""
    return all(labels.get(name) == value for name, value in wanted.items())
