"""Values that a text gives to what is called a token, a password, a key: whether they are secrets,
or placeholders such as `${NPM_TOKEN}`, `xxx` and `your-token-here`.

Every form here is bounded, so that the work grows with the text alone.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from typing import TYPE_CHECKING, Any, Final

from tasks.base.parsing import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A key is a secret with one of these before it.
_KEYS: Final = (
    b"api", b"access", b"auth", b"secret", b"private", b"signing", b"encryption", b"account",
    b"master", b"service", b"shared", b"license", b"app",
)  # fmt: skip
_IS_SECRET_KEY: Final = b"|".join(rb"(?<=%b)|(?<=%b[_.-])" % (key, key) for key in _KEYS)
#: The end of a name that says that its value is a secret; `_STEMS` are how these ends begin.
_NAME: Final = (
    rb"(?:token|secret|passw(?:or)?d|passphrase|pwd|(?:" + _IS_SECRET_KEY + rb")key(?:[_.-]?base|"
    rb"[_.-]?data)?|key[_.-]?(?:data|material)|credentials?|bearer|authorization|webhook[_.-]?url)"
)
_STEMS: Final = (
    b"token", b"secret", b"passw", b"passphrase", b"pwd", b"key", b"credential", b"bearer",
    b"authorization", b"webhook",
)  # fmt: skip
_SEPARATOR: Final = rb"[\"'\]\)]{0,2}[ \t]{0,8}(?:=>|:=|[=:]|\"[ \t]{0,4},)[ \t]{0,8}"
#: `API_TOKEN = "value"`, `"password": "value"`, `--token value`, `Authorization: Bearer value`.
KEYED: Final = re.compile(
    rb"(?i:" + _NAME + rb"(?:" + _SEPARATOR + rb"|[\"',]{0,2}[ \t=]{1,4}(?=[\"']?[\w+/.=~-]{16})))"
    rb"(?:[rbfu]?[\"'`]|@\")?(?:(?i:bearer|basic|token)[ ]{1,2})?"
    rb"(?P<value>[\w+/.~-]{16,400}+={0,2}+)(?=[\s\"'`,;&\\)}\]<#]|\Z)"
)
#: Where the file is known to hold credentials, a name may say less and a value may be shorter.
LOOSE: Final = re.compile(
    rb"(?i:(?:" + _NAME + rb"|auth|key|pat|pass|pw|authident|dsn|cookie|sid|creds?|sig)"
    rb"(?:[\"'\]]{0,2}[ \t]{0,8}(?:=>|:=|[=:]|,)|\"[ \t]{1,4}value=|[\"'][ \t]{0,4},)[ \t]{0,8})"
    rb"(?:[\"'`]{0,2})(?:(?i:bearer|basic|token)[ ]{1,2})?"
    rb"(?P<value>[^\s\"'`,;&<>{}()\[\]|]{6,400}+)(?=[\s\"'`,;&<}\])|]|\Z)"
)
#: `<password>value</password>`
ELEMENT: Final = re.compile(
    rb"<(?i:password|passphrase|privateKey|token|secret|apiKey)>[ \t]{0,8}"
    rb"(?P<value>[^\s<>]{6,200})<"
)
#: `"github-oauth": {"github.com": "value"}`, of Composer's auth.json.
COMPOSER: Final = re.compile(
    rb"\"(?:github-oauth|gitlab-oauth|gitlab-token|bitbucket-oauth|bearer|http-basic)\"\s{0,20}:"
    rb"\s{0,20}\{\s{0,80}\"[^\"\s]{1,100}\"\s{0,20}:\s{0,20}\"(?P<value>[^\"\s]{6,200})\""
)
#: `scheme://user:value@host`
URL: Final = re.compile(
    rb"://(?P<user>[^\s/:@\"'<>`]{0,100}):(?P<value>[^\s/@\"'<>`\\]{6,200})@"
    rb"(?P<host>[\w.-]{1,100})"
)
JWT: Final = re.compile(
    rb"(?<![\w-])(?P<head>eyJ[\w-]{10,400}+)\.(?P<claims>eyJ[\w-]{10,2000}+)\.[\w-]{20}"
)

_ABSENT: Final = re.compile(
    r"[\$<>{}\[\]]|%\w{1,60}%|\.\.\.|…|\*{3}|x{4}|(.)\1{7}|"
    r"\A(?:process\.|env\.|os\.|self\.|this\.|ctx\.|config\.|secrets?\.|vars?\.|settings\.|ENC\[)",
    re.IGNORECASE,
)
#: What is left of a placeholder without these is next to nothing: `my-token-123`.
_WORDS: Final = re.compile(
    r"(?:placeholder|redacted|masked|hidden|removed|changeme|change|replace|insert|example|sample|"
    r"dummy|default|p[a4]ssw[o0]rd|pa55w[o0]rd|s3cr3t|passwd|passphrase|pass|secret|token|credentials?|private|public|access|"
    r"authtoken|auth|bearer|basic|client|admin|root|guest|user(?:name)?|login|test(?:ing|s)?|value|"
    r"string|random|some|your|mine|this|that|here|none|null|undefined|true|false|fake|mock|invalid|"
    r"valid|wrong|bad|good|old|new|not|real|npm|node|aws|gcp|azure|session|service|account|cloud|github|gitlab|docker|registry|android|"
    r"postgres(?:ql)?|mysql|mongo(?:db)?|redis|rabbitmq|database|db|server|local|host|dev|prod|key|"
    r"api|id|my|the|an|a|in|is|of|for|from|to|with|at|or|foo|bar|baz|qux|abc(?:def)?(?:ghi)?|xyz|"
    r"0?1?23(?:4(?:5(?:6(?:7(?:8(?:90?)?)?)?)?)?)?|0+|1+|[^\W_]?x{2,3})",
    re.IGNORECASE,
)
_LEAST_LEFT: Final = 4
_DIGITS: Final = re.compile(r"\d+")
_TURNS: Final = re.compile(r"[a-z](?=[A-Z])|[A-Z](?=[A-Z]?[a-z])|[A-Z](?=\d)|\d(?=[a-zA-Z])")
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
#: Hosts of examples (RFC 2606, RFC 6761) and of the machine itself.
_NOWHERE: Final = re.compile(
    r"(?:.*\.)?(?:example(?:\.\w+)?|localhost|test|invalid|local|domain\.\w+|host|hostname|server|"
    r"your\S*|my\S*|\w)|127\.\S*|0\.0\.0\.0|registry|db|postgres|mysql|redis|mongo",
    re.IGNORECASE,
)


def is_placeholder(value: str) -> bool:
    """Whether the value stands for a secret that is elsewhere, or for any.

    >>> [is_placeholder(v) for v in ("${NPM_TOKEN}", "xxxx", "my-token-123", "Tr0ub4dor")]
    [True, True, True, False]
    """
    spellings = [value, _decoded(value)]
    return any(text is not None and _is_empty(text) for text in spellings)


def _is_empty(text: str) -> bool:
    if len({*text}) < 2 or not text.isascii() or _ABSENT.search(text):
        return True
    return sum(map(str.isalnum, _WORDS.sub("", text))) < _LEAST_LEFT


def _decoded(value: str) -> str | None:
    """The text that the value is the Base64 of.

    >>> _decoded("dGVzdF9wYXNzd29yZA==")
    'test_password'
    """
    try:
        raw = base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
    except ValueError:
        return None
    return raw.decode() if raw.isascii() and raw.decode().isprintable() else None


def is_random(value: str) -> bool:
    """Whether a value looks as if a machine had made it, unlike words and versions.

    >>> [is_random(v) for v in ("8f3kQ9zLm2XcV7bN", "some-long-identifier-2")]
    [True, False]
    """
    if _UUID.fullmatch(value):
        return len({*value}) > 8
    numbers = len(_DIGITS.findall(value))
    turns = len(_TURNS.findall(value))
    is_mixed = numbers >= 3 or (numbers and turns >= 5) or (turns >= 9 and "." not in value)
    separators = sum(value.count(separator) for separator in "-_/.")
    return bool(is_mixed) and len({*value.lower()}) >= 9 and separators <= len(value) / 8


def keyed(text: bytes) -> bool:
    """Whether a name of a secret has a value that looks like one."""
    lower = text.lower()
    for stem in _STEMS:
        at = lower.find(stem)
        while at >= 0:
            match = KEYED.match(text, at)
            if match:
                value = match["value"].decode(errors="replace")
                if is_random(value) and not is_placeholder(value):
                    return True
            at = lower.find(stem, at + 1)
    return False


def loosely_keyed(text: bytes) -> bool:
    """Whether a file that is there for credentials holds one."""
    for form in (LOOSE, ELEMENT, COMPOSER, URL):
        for match in form.finditer(text):
            if not is_placeholder(match["value"].decode(errors="replace")):
                return True
    return False


def in_url(text: bytes) -> bool:
    """Whether a URL holds a password, other than those of examples."""
    for match in URL.finditer(text):
        value = match["value"].decode(errors="replace")
        user = match["user"].decode(errors="replace")
        host = match["host"].decode(errors="replace")
        strange = any(map(str.isdigit, value)) and any(map(str.isalpha, value))
        if (
            strange and len(value) >= 8 and value != user
            and not is_placeholder(value) and not _NOWHERE.fullmatch(host)
        ):  # fmt: skip
            return True
    return False


def live_jwts(text: bytes) -> Iterator[bytes]:
    """JSON Web Tokens (RFC 7519) that someone may still accept: not expired, signed, for somebody
    who is not anonymous and not the one of jwt.io.
    """
    for match in JWT.finditer(text):
        claims, head = _json(match["claims"]), _json(match["head"])
        if claims is None or head is None or str(head.get("alg", "")).lower() == "none":
            continue
        expiry = claims.get("exp")
        is_expired = isinstance(expiry, int | float) and expiry < time.time()
        is_example = claims.get("sub") == "1234567890" or claims.get("role") == "anon"
        if not is_expired and not is_example:
            yield match[0]


def _json(part: bytes) -> dict[str, Any] | None:
    try:
        value = parse_json(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)))
    except (ValueError, binascii.Error):
        return None
    return value if isinstance(value, dict) else None
