"""Who may see the status: the daemon's token, or a session cookie that the token gave."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import logging
import os
import secrets
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from itsdangerous import BadSignature, TimestampSigner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_log = logging.getLogger("iterate_daemon")

SESSION_SECONDS: Final = 12 * 3600


class Sessions:
    """Signed, expiring session cookies. Their key comes from the token, so that they outlive a
    restart of the daemon and end with the token. So does what was signed out of: in `ended_file`,
    if that can be written.
    """

    def __init__(
        self, token: str, ended_file: Path | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        key = hashlib.sha256(b"iterate session\0" + token.encode(errors="surrogateescape")).digest()
        self._signer = _Signer(key, clock=clock)
        self._clock = clock
        self._ended_file = ended_file
        #: A session's digest → when its cookie expires.
        self._ended_sessions = _read_ended(ended_file) if ended_file else {}
        # Cookies do not know ports: with the key in the name, sandboxes on several ports of one
        # host do not sign each other out.
        self.cookie_name: Final = f"iterate_session_{hashlib.sha256(key).hexdigest()[:8]}"

    def start(self) -> str:
        return self._signer.sign(secrets.token_urlsafe(16)).decode()

    def is_valid(self, cookie: str) -> bool:
        session = self._session(cookie)
        return session is not None and _digest(session) not in self._ended_sessions

    def end(self, cookie: str) -> None:
        """Refuse this session from now on, also to whoever has copied its cookie."""
        moment = self._clock()
        self._ended_sessions = {s: end for s, end in self._ended_sessions.items() if end > moment}
        session = self._session(cookie)
        if session is not None:
            self._ended_sessions[_digest(session)] = moment + SESSION_SECONDS
            if self._ended_file is not None:
                _write_ended(self._ended_file, self._ended_sessions)

    def _session(self, cookie: str) -> str | None:
        try:
            return self._signer.unsign(cookie, max_age=SESSION_SECONDS).decode()
        except (BadSignature, UnicodeError):
            return None


def _digest(session: str) -> str:
    return hashlib.sha256(session.encode()).hexdigest()


def _read_ended(file: Path) -> dict[str, float]:
    try:
        data = json.loads(file.read_text())
        return {str(digest): float(end) for digest, end in data.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        _log.warning("sessions that were ended before this start may be valid again: %s", error)
        return {}


def _write_ended(file: Path, ended_sessions: dict[str, float]) -> None:
    """A warning where it cannot: the session has ended for this process anyway."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(ended_sessions))
        temporary.replace(file)
    except OSError as error:
        _log.warning("a restart of the daemon makes this session valid again: %s", error)


class _Signer(TimestampSigner):
    def __init__(self, key: bytes, *, clock: Callable[[], float]) -> None:
        super().__init__(key, salt="session", digest_method=hashlib.sha256)
        self._clock = clock

    def get_timestamp(self) -> int:
        return int(self._clock())


class GuessBudget:
    """A budget of wrong tokens for each client, refilled steadily.

    Behind a published port all clients may share one address. So the right token always passes:
    nobody can lock the owner out.
    """

    def __init__(
        self,
        *,
        burst: int = 10,
        seconds_each: float = 6.0,
        clients: int = 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._burst = burst
        self._seconds_each = seconds_each
        self._clients = clients
        self._clock = clock
        #: client → when its budget will be full again; the longest unseen client is first.
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def spend(self, client: str) -> float:
        """Count a wrong token; returns 0, or the seconds to wait when the budget is used up."""
        key = _network(client)
        moment = self._clock()
        full_at = max(self._full_at.get(key, moment), moment)
        wait = full_at - moment - (self._burst - 1) * self._seconds_each
        if wait <= 0:
            full_at += self._seconds_each
        self._full_at[key] = full_at
        self._full_at.move_to_end(key)
        while len(self._full_at) > self._clients:
            self._full_at.popitem(last=False)
        return max(wait, 0.0)


def secrets_match(candidate: str, secret: str) -> bool:
    """Compared through digests, so that neither content nor length shows in the time taken."""

    def digest(text: str) -> bytes:
        return hashlib.sha256(text.encode(errors="surrogatepass")).digest()

    return hmac.compare_digest(digest(candidate), digest(secret))


def _network(client: str) -> str:
    """A client has one IPv4 address, but a whole /64 of IPv6."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    if address.version == 4:
        return client
    return str(ipaddress.ip_network((int(address), 64), strict=False))
