"""What Daytona accepts and derives, as pure functions. Seen in server v0.190.0."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final

from daytona_standin.errors import ApiRefusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_NAME: Final = re.compile(
    r"[A-Za-z0-9_.\-:]+(?:/[A-Za-z0-9_.\-:]+)*(?:@sha256:[0-9a-f]{64})?"  # one digest at the end
)
_FORBIDDEN_TEXT: Final = re.compile(
    r"<[^<>]*>|[\x00-\x1f\x7f]|www\.|https?://|ftp://|data:|tel:|mailto:|javascript:", re.IGNORECASE
)
_IMAGE: Final = re.compile(r"(?:[\w.-]+(?::\d+)?/)?[a-z0-9._/-]+:[\w][\w.-]{0,127}")
_ENTRYPOINT: Final = re.compile(r"ENTRYPOINT\s+(.*)")
#: What runs in a sandbox whose Dockerfile names no entry point.
_SLEEP: Final = ("sleep", "infinity")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_name(name: str) -> str:
    """The name of a snapshot. Raises `ApiRefusal` (400)."""
    if not name:
        raise ApiRefusal(400, "name should not be empty, name must be a string")
    if not _NAME.fullmatch(name):
        raise ApiRefusal(
            400,
            "Invalid snapshot name format. May only contain letters, digits, dots, colons,"
            " slashes and dashes",
        )
    if _FORBIDDEN_TEXT.search(name):
        raise ApiRefusal(400, "name must not contain HTML, control characters or URLs")
    return name


def check_image_name(image: str) -> str:
    """The name of a pushed image: with a tag other than `latest`, or with a digest."""
    if not image:
        raise ApiRefusal(400, "Image name must not be empty")
    if "@" in image:
        if not re.search(r"@sha256:[a-f0-9]{64}$", image):
            raise ApiRefusal(400, "Invalid digest format. Must be image@sha256:64_hex_characters")
        return image
    if ":" not in image.rpartition("/")[2]:
        raise ApiRefusal(400, "Image name must include a tag (e.g., ubuntu:22.04) or digest")
    if image.endswith(":latest"):
        raise ApiRefusal(400, 'Images with tag ":latest" are not allowed')
    if not _IMAGE.fullmatch(image):
        raise ApiRefusal(400, "Invalid image name format. Must be lowercase")
    return image


def check_variable_names(names: Iterable[str]) -> None:
    for name in names:
        if not _VARIABLE.fullmatch(name):
            raise ApiRefusal(400, f"bad request: invalid environment variable name: {name}")


def build_ref(dockerfile: str, context_hashes: Sequence[str]) -> str:
    """The name of the image that a build makes: the same content gives the same image."""
    text = dockerfile + "".join(sorted(context_hashes))
    return f"daytona-{hashlib.sha256(text.encode()).hexdigest()}:daytona"


def pull_ref(digest: str) -> str:
    """The name of the image that is made from a pushed one."""
    return f"daytona-{digest.removeprefix('sha256:')}:daytona"


def entrypoint_of(dockerfile: str) -> list[str]:
    """The last text that looks like an ENTRYPOINT, even in a comment or an earlier stage."""
    candidates = _ENTRYPOINT.findall(dockerfile)
    if not candidates:
        return list(_SLEEP)
    text = candidates[-1].strip()
    try:
        words = json.loads(text)
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return words
    except ValueError:
        pass
    return [text.strip("\"'")]


def contains_labels(labels: Mapping[str, str], required: Mapping[str, Any]) -> bool:
    """JSON containment, as Postgres' @> does it for flat objects."""
    return all(labels.get(name) == value for name, value in required.items())
