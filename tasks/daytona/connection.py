"""The way to Daytona: the SDK's generated clients, with deadlines and errors of our own.

Requests (paths, encoding, models) are the SDK's. Three things of it are not used, since they fail
in ways that nobody sees (SDK 0.226.1, check again at each upgrade):
 - `daytona.Daytona`: its waits have no limit or arm SIGALRM, its log thread outlives Ctrl-C,
   `create()` loses the id of a sandbox that the server made before something went wrong.
 - its reading of replies: one missing field makes an error of a success. `answers` reads what we
   need.
 - urllib3's silent retries: `tasks.base.retry` says what it does, and waits as the server asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from tasks.base import addresses, console, http, project, retry
from tasks.base.errors import TaskError
from tasks.base.http import Response
from tasks.base.parsing import parse_json
from tasks.base.retry import RemoteFailed
from tasks.daytona import answers, masking, service
from tasks.daytona.answers import UnexpectedAnswer
from tasks.daytona.service import DAYTONA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from tasks.daytona.answers import JsonAnswer
    from tasks.daytona.credentials import Credentials

#: Seconds to connect, and without a byte of reply.
TIMEOUT: Final = (10.0, 60.0)
#: Seconds for a whole answer beside those without a byte.
_TRANSFER: Final = 240.0
_SOURCE: Final = project.SLUG


class Connection:
    """Thread-safe. `ask` puts one question; `tasks.base.retry` repeats those that may be."""

    def __init__(self, credentials: Credentials, *, policy: retry.Policy = retry.DEFAULT) -> None:
        import daytona_api_client as sdk  # noqa: PLC0415 - heavy, 0.4 s

        self.credentials = credentials
        self.sdk = sdk
        self._policy = policy
        self._http = http.Client(DAYTONA, secrets=[credentials.api_key])
        self.client = self.open_client(sdk, credentials.api_url)
        self.client.default_headers["X-Daytona-Source"] = _SOURCE

    def open_client(self, sdk: ModuleType, host: str) -> Any:
        """A client of one of the SDK's packages for `host`, over our connections."""
        self.check_bearer(host)
        configuration = sdk.Configuration(host=host, access_token=self.credentials.api_key)
        client = sdk.ApiClient(configuration)
        client.rest_client.pool_manager = self._http.manager_for(host)
        return client

    def close(self) -> None:
        self._http.close()

    def check_bearer(self, url: str) -> None:
        """The key goes over HTTPS, or to this machine when the API itself is there."""
        parts = urlsplit(url)
        local = self.credentials.is_local and addresses.is_loopback(parts.hostname or "")
        if parts.scheme != "https" and not local:
            raise TaskError(
                "Daytona names an address that is not HTTPS: the key is not sent there",
                fix="check DAYTONA_API_URL",
            )

    def ask_or_none(
        self, doing: str, method: Callable[..., Any], *args: Any, **options: Any
    ) -> JsonAnswer | None:
        """As `ask`; None where the server knows nothing of that name."""
        try:
            return self.ask(doing, method, *args, **options)
        except RemoteFailed as error:
            if error.kind == "not-found":
                return None
            raise

    def ask(
        self,
        doing: str,
        method: Callable[..., Any],
        *args: Any,
        is_repeatable: bool = True,
        scope: str = "",
        timeout: tuple[float, float] = TIMEOUT,
        **options: Any,
    ) -> JsonAnswer:
        """The reply's object. What `is_repeatable` is asked as `base.retry` sees fit."""

        def attempt() -> JsonAnswer:
            body = self.fetch(doing, method, *args, scope=scope, timeout=timeout, **options)
            return answers.parse(doing, body)

        return retry.call(attempt, policy=self._policy) if is_repeatable else attempt()

    def fetch(
        self,
        doing: str,
        method: Callable[..., Any],
        *args: Any,
        scope: str = "",
        timeout: tuple[float, float] = TIMEOUT,
        **options: Any,
    ) -> bytes:
        """The body of a reply that is a success. Raises `RemoteFailed` for any other. `scope` is
        the permission that the question takes.
        """
        import pydantic  # noqa: PLC0415 - comes with the SDK

        try:
            with self._http.bounded(doing, timeout[1] + _TRANSFER):
                reply = method(*args, _request_timeout=timeout, **options)
                body = self._http.read(reply)
        except (pydantic.ValidationError, self.sdk.ApiException) as error:
            problem = console.printable(str(error))[:200]
            raise TaskError(f"{doing}: the SDK cannot send this: {problem}") from error
        if 200 <= reply.status < 300:
            return body
        response = Response(status=reply.status, headers=reply.headers, body=body)
        if answers.is_page(body) and reply.status < 500:
            raise UnexpectedAnswer(doing, f"the answer is {reply.status} with a web page")
        message = masking.mask(_message(body), self.credentials.api_key)
        raise service.failure(doing, response, message=message, scope=scope)

    def stream(self, doing: str, url: str, *, idle: float) -> Iterator[bytes]:
        """The bytes at `url`, until their end or `idle` seconds without any."""
        self.check_bearer(url)
        headers = {"Authorization": f"Bearer {self.credentials.api_key}"}
        return self._http.stream(url, doing=doing, headers=headers, idle=idle)


def _message(body: bytes) -> str:
    """What an error reply of Daytona says. Of anything else only the form is told: nobody knows
    what a foreign text repeats.
    """
    try:
        value = parse_json(body)
    except ValueError:
        return answers.describe_form(body)
    if not isinstance(value, dict):
        return answers.describe_form(body)
    if isinstance(errors := value.get("errors"), list) and errors:
        return ", ".join(map(str, errors))
    return str(value.get("message") or value.get("error") or "")
