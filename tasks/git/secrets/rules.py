"""What must never get into an image: files by their names, secrets by what stands in a file.

A file is read as a whole, in pieces. Most of a text is passed at the speed of memory: only its
long words can be tokens, and the forms are tried on those alone.
"""

from __future__ import annotations

import binascii
import contextlib
import functools
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tasks.base import tokens
from tasks.git.secrets import containers, names, values
from tasks.git.secrets.names import by_name, is_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["by_content", "by_name", "by_stream", "digest", "is_store", "worth_reading"]

#: What is found in configuration because of its name.
IN_STORE: Final = "credentials in configuration"
#: Bytes; of a larger file nothing is read, which is said.
LARGEST_READ: Final = 1 << 30
_PIECE: Final = 4 << 20
#: Bytes of a piece that the next one begins with: no secret is cut in two.
_OVERLAP: Final = 8 << 10

_LETTERS: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+/=.:~%@$"
_AS_WORDS: Final = bytes(97 if code in _LETTERS else 32 for code in range(256))
_SHORTEST: Final = b"a" * 16

#: Between the first line of a key and its second: line ends, also as JSON and code write them.
_BREAK: Final = rb"[\s\\rn\"'+,;|>#*.]{1,40}"
_KEY_LINE: Final = rb"(?![xX]{8})[A-Za-z0-9+/=]{16}[A-Za-z0-9+/=\s\\rn\"'+,;|>#*]{24}"
_KEY_HEADER: Final = rb"(?:[A-Z][A-Za-z-]{3,12}: ?[\w ,.:;()<>@/+-]{1,64}" + _BREAK + rb"){0,2}"
#: Kind → a word that stands in whatever is of this kind, and its form.
CONTENT: Final[Mapping[str, tuple[bytes, re.Pattern[bytes]]]] = {
    "private key": (
        b"PRIVATE KEY",
        re.compile(
            rb"-----BEGIN (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----"
            + _BREAK + _KEY_HEADER + _KEY_LINE
        ),
    ),
    "private key (PuTTY)": (
        b"PuTTY-User-Key-File", re.compile(rb"PuTTY-User-Key-File-[1-9]: [a-z]"),
    ),
    "private key (SSH2)": (
        b"BEGIN SSH2", re.compile(rb"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\s{1,4}[A-Z]"),
    ),
    "private key (WireGuard)": (
        b"PrivateKey", re.compile(rb"PrivateKey[ \t]{0,4}=[ \t]{0,4}[A-Za-z0-9+/]{43}="),
    ),
    "private key (OpenVPN)": (
        b"OpenVPN Static key",
        re.compile(rb"-----BEGIN OpenVPN Static key V1-----" + _BREAK + rb"[0-9a-f]{32}"),
    ),
    "private key (JSON Web Key)": (b'"kty"', re.compile(rb"\"d\"\s{0,8}:\s{0,8}\"[\w-]{40}")),
    "private key (minisign)": (
        b" secret key",
        re.compile(
            rb"(?:minisign|minisign encrypted|signify) secret key" + _BREAK + rb"[\w+/]{60}"
        ),
    ),
}  # fmt: skip
#: Of documentation, known to everybody: AWS's and Stripe's.
_PUBLISHED: Final = (b"EXAMPLE", b"4eC39HqLyjWDarjt", b"TYooMQauvdEDq54N")
_STAND_INS: Final = re.compile(rb"(?i)x{4}|your[_-]|placeholder|example|(.)\1{7}|\.\.\.", re.DOTALL)


_BASE64: Final = re.compile(rb"(?<![\w+/.-])[A-Za-z0-9+/]{24,}")


def by_content(content: bytes, path: bytes = b"") -> str | None:
    """The kind of secret that stands in the `content` of the file at `path`, if any."""
    kind = containers.by_beginning(content)
    if kind:
        return kind
    has_nul = b"\0" in content
    kind = _by_text(content, is_text=not has_nul)
    if kind or not has_nul:
        return kind or _by_store(content, path)
    text = content.replace(b"\0", b"")
    # UTF-16 and UTF-32 of plain text, without its zeros, is that text.
    is_wide = len(content) / 4 < content.count(b"\0")
    return _by_text(text, is_text=is_wide) or (_by_store(text, path) if is_wide else None)


def by_stream(read: Callable[[int], bytes], path: bytes = b"") -> str | None:
    """As `by_content`, of what `read(count)` gives until it gives nothing."""
    rest = b""
    while piece := read(_PIECE):
        kind = by_content(rest + piece, path)
        if kind:
            return kind
        rest = piece[-_OVERLAP:]
    return None


def _by_store(text: bytes, path: bytes) -> str | None:
    if is_store(path) and values.loosely_keyed(text):
        return IN_STORE
    return None


def _by_text(text: bytes, *, is_text: bool) -> str | None:
    for kind, (telltale, form) in CONTENT.items():
        if telltale in text and form.search(text):
            return kind
    if is_text and b"://" in text and values.in_url(text):
        return "password in a URL"
    token = _by_tokens(b"\n".join(_words(text)))
    return token or ("token or password" if is_text and values.keyed(text) else None)


def _words(text: bytes) -> Iterator[bytes]:
    """The long words of a text, in which a token may stand."""
    letters = text.translate(_AS_WORDS)
    start = letters.find(_SHORTEST)
    while start >= 0:
        end = letters.find(b" ", start)
        end = len(text) if end < 0 else end
        yield text[start:end]
        start = letters.find(_SHORTEST, end)


def _by_tokens(words: bytes) -> str | None:
    for text in (words, _decoded(words)):
        for token in tokens.find(text):
            if not _is_stand_in(text[token.start : token.end]):
                return token.kind
        if b"eyJ" in text and any(values.live_jwts(text)):
            return "JSON Web Token"
        if b"PRIVATE KEY" in text and CONTENT["private key"][1].search(text):
            return "private key"
    return None


def _is_stand_in(token: bytes) -> bool:
    return (
        any(part in token for part in _PUBLISHED)
        or _STAND_INS.search(token) is not None
        or (len(token) > 16 and len({*token}) < 6)
    )


def _decoded(words: bytes) -> bytes:
    """The texts among the words that are written as Base64, as Kubernetes does."""
    texts = []
    for word in _BASE64.findall(words):
        with contextlib.suppress(binascii.Error):
            texts.append(binascii.a2b_base64(word + b"=="))
    return b"\n".join(text for text in texts if text.isascii())


@functools.cache
def digest() -> str:
    """Identifies these rules: what was scanned with other rules is scanned again."""
    modules = (containers, names, tokens, values)
    files = [__file__, *(str(module.__file__) for module in modules)]
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()


def worth_reading(size: int) -> bool:
    return 0 < size <= LARGEST_READ
