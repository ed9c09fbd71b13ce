"""Attributes that git takes from places which do not travel: the user's and the system's files,
`.git/info/attributes`, a `.gitattributes` that is ignored itself.

Git is asked twice for the attributes of every tracked file: as it stands, and as it will answer in
the image. What differs is written down, a line a file, for the image's own `.git/info/attributes`.
https://git-scm.com/docs/gitattributes, https://git-scm.com/docs/git-check-attr
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tasks.git import isolation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tasks.git import Repo

FILE_NAME: Final = b".gitattributes"
#: Path → attribute → value, as `git check-attr` prints it: `set`, `unset` or a text.
Attributes = dict[bytes, dict[bytes, bytes]]

_STATES: Final = {b"set": b"%s", b"unset": b"-%s"}
_WILDCARD: Final = re.compile(rb"[*?\[\\]")
_ESCAPED: Final = re.compile(rb'["\\\x00-\x1f\x7f]')


def listed(repo: Repo, names: bytes) -> Attributes:
    """The attributes of `names` (each ends in NUL), from every place that git reads."""
    return _parse(repo.git("check-attr", "--all", "-z", "--stdin", stdin=names))


def overrides(
    repo: Repo, names: bytes, attributes: Attributes, image_files: Iterable[bytes]
) -> bytes:
    """The lines that the image's `info/attributes` needs, for `attributes` to hold there, too.

    `shipped` are the `.gitattributes` files that go into the image.
    """
    with tempfile.TemporaryDirectory(prefix="iterate-attributes-") as folder:
        root, common = Path(folder, "tree"), Path(folder, "common")
        root.mkdir()
        for name in image_files:
            _copy(repo.root / os.fsdecode(name), root / os.fsdecode(name))
        isolation.link_common(repo.isolated, common)
        raw = repo.git(
            "check-attr", "--all", "-z", "--stdin", stdin=names,
            settings=(("core.attributesFile", os.devnull),),
            environment={"GIT_WORK_TREE": str(root), "GIT_COMMON_DIR": str(common),
                         "GIT_ATTR_NOSYSTEM": "1"},
        )  # fmt: skip
    in_image = _parse(raw)
    lines = (
        _line(path, in_image.get(path, {}), attributes.get(path, {}))
        for path in sorted({*attributes, *in_image})
    )
    return b"".join(line for line in lines if line)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if source.is_symlink():
            target.symlink_to(source.readlink())
        else:
            target.write_bytes(source.read_bytes())
    except OSError:
        return  # one that vanishes now is noticed when it is packed


def _parse(raw: bytes) -> Attributes:
    fields = raw.split(b"\0")
    attributes: Attributes = {}
    for path, name, value in zip(fields[::3], fields[1::3], fields[2::3], strict=False):
        attributes.setdefault(path, {})[name] = value
    return attributes


def _line(path: bytes, in_image: Mapping[bytes, bytes], outside: Mapping[bytes, bytes]) -> bytes:
    """What makes `in_image` equal to `outside`, b"" where they are equal."""
    if in_image == outside:
        return b""
    words = [
        _word(name, outside.get(name))
        for name in sorted({*in_image, *outside})
        if in_image.get(name) != outside.get(name)
    ]
    pattern = _WILDCARD.sub(rb"\\\g<0>", b"/" + path)
    quoted = _ESCAPED.sub(lambda match: b"\\%03o" % match[0][0], pattern)
    return b'"%s" %s\n' % (quoted, b" ".join(words))


def _word(name: bytes, value: bytes | None) -> bytes:
    if value is None:
        return b"!" + name
    return _STATES[value] % name if value in _STATES else name + b"=" + value
