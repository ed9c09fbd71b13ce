"""One repository of an OCI registry, asked over HTTP.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md#push
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urljoin, urlsplit

from tasks.base import addresses, http, retry
from tasks.base.errors import TaskError
from tasks.base.http import Limits, Response, Service
from tasks.base.parsing import parse_json
from tasks.daytona import answers, masking
from tasks.daytona.answers import UnexpectedAnswer
from tasks.daytona.service import DAYTONA

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.daytona.registry.layers import ImageBlob

#: Seconds to connect; seconds without a byte. A slow line is not a fault.
TIMEOUT: Final = (10.0, 60.0)
_CHALLENGE: Final = re.compile(r'\b(\w+)="([^"]*)"')


@dataclass(frozen=True, kw_only=True)
class PushTarget:
    """`registry` is host[:port]; plain HTTP is spoken to this machine only."""

    registry: str
    repository: str
    username: str
    secret: str = field(repr=False)

    @property
    def origin(self) -> str:
        local = addresses.is_loopback(addresses.host_of(self.registry))
        return f"{'http' if local else 'https'}://{self.registry}"


class ImageRegistryClient:
    def __init__(
        self,
        target: PushTarget,
        *,
        policy: retry.Policy = retry.DEFAULT,
        timeout: tuple[float, float] = TIMEOUT,
    ) -> None:
        self.target = target
        self.policy = policy
        self._limits = Limits(connect=timeout[0], idle=timeout[1])
        service = Service(name=f"the registry {target.registry}", advice=DAYTONA.advice)
        self._http = http.Client(service, secrets=[target.secret])
        pair = f"{target.username}:{target.secret}".encode()
        self._basic = "Basic " + base64.b64encode(pair).decode()
        self._authorization = self._basic

    def has(self, blob: ImageBlob) -> bool:
        reply = self.ask("HEAD", f"blobs/{blob.digest}", "looking for a layer", ok={200, 404})
        return reply.status == 200

    def location(self, reply: Response) -> str:
        """Where an upload goes on: a registry may move it with each piece, within itself."""
        address = urljoin(self.target.origin, reply.headers.get("Location", ""))
        parts = urlsplit(address)
        if parts.netloc != self.target.registry:
            raise TaskError(
                "the registry sends the upload to another host: it gets no credentials",
                fix=DAYTONA.advice["rejected"],
            )
        return self.target.origin + address.removeprefix(f"{parts.scheme}://{parts.netloc}")

    def ask(self, method: str, path: str, doing: str, **options: Any) -> Response:
        """As `ask_once`, as often as `base.retry` sees fit."""
        return retry.call(lambda: self.ask_once(method, path, doing, **options), policy=self.policy)

    def ask_once(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        ok: set[int],
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Response:
        """A reply whose status is in `ok`; any other is `RemoteFailed`. `path` is within the
        repository, or a whole address that the registry named.
        """
        url = path
        if "://" not in path:
            url = f"{self.target.origin}/v2/{self.target.repository}/{path}"
        send = partial(self._send, method, url, doing, body, headers or {}, timeout=timeout)
        reply = send()
        if reply.status == 401 and self._log_in(reply):
            reply = send()
        if reply.status in ok:
            return reply
        doing = f"{doing} at {self.target.registry}"
        message = masking.mask(_message(reply.body), self.target.secret)
        raise self._http.service.failure(doing, reply, message=message)

    def _send(
        self,
        method: str,
        url: str,
        doing: str,
        body: bytes | None,
        headers: Mapping[str, str],
        *,
        timeout: float | None = None,
    ) -> Response:
        """`timeout` is for the whole exchange; without one, silence alone is limited."""
        limits = self._limits
        if timeout is not None:
            limits = Limits(connect=timeout, idle=timeout, total=timeout)
        return self._http.send(
            method,
            url,
            doing=doing,
            headers={**headers, "Authorization": self._authorization},
            body=body,
            limits=limits,
        )

    def _log_in(self, reply: Response) -> bool:
        """Get the token that a registry like Harbor asks for; False when it asks for none."""
        challenge = reply.headers.get("WWW-Authenticate", "")
        terms = dict(_CHALLENGE.findall(challenge))
        if not challenge.lower().startswith("bearer ") or "realm" not in terms:
            return False
        realm = urlsplit(terms["realm"])
        if realm.hostname != addresses.host_of(self.target.registry) or (
            realm.scheme != urlsplit(self.target.origin).scheme
        ):
            raise TaskError(
                "the registry asks for its login at another host: that host gets no credentials",
                fix=DAYTONA.advice["rejected"],
            )
        query = urlencode({name: terms[name] for name in ("service", "scope") if name in terms})
        self._authorization = self._basic
        answer = self._send("GET", f"{terms['realm']}?{query}", "logging in", None, {})
        if answer.status != 200:
            return False
        fields = answers.parse("logging in at the registry", answer.body)
        token = fields.optional_text("token") or fields.text("access_token")
        if not re.fullmatch(r"[!-~]+", token):
            raise UnexpectedAnswer("logging in at the registry", "the answer holds no usable token")
        self._authorization = f"Bearer {token}"
        return True


def _message(body: bytes) -> str:
    """What a refusal says, in the form of the specification; of another one only the form."""
    try:
        errors = parse_json(body)["errors"]
        return "; ".join(str(error.get("message") or error["code"]) for error in errors)
    except (ValueError, LookupError, TypeError, AttributeError):
        return answers.describe_form(body)
