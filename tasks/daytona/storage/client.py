"""The organisation's part of Daytona's object storage, over S3.

botocore signs and speaks S3. The SDK's own obstore would show neither pieces nor retries, refuses
the stand-in's plain HTTP, and waits up to four minutes in silence.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from tasks.base import addresses, console, http, retry
from tasks.base.errors import TaskError
from tasks.base.http import Limits, Response, Service
from tasks.base.retry import RemoteFailed
from tasks.daytona.service import DAYTONA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tasks.build.archive import Part
    from tasks.daytona.upload_client import StorageAccess

#: Seconds without a byte. A slow connection may take as long as it moves.
IDLE: Final = 60.0
CONNECT: Final = 10.0
_STORAGE: Final = Service(name="Daytona's object storage", advice=DAYTONA.advice)
#: S3 says these with a 400, although the same request may succeed a moment later.
_PASSING_CODES: Final = frozenset({"RequestTimeout", "RequestTimeTooSkewed"})


class ContextStorage:
    """Thread-safe. It asks for new access when that has expired."""

    def __init__(self, access: Callable[[], StorageAccess], *, policy: retry.Policy) -> None:
        self._ask_access = access
        self._policy = policy
        self._http = http.Client(_STORAGE, limits=Limits(connect=CONNECT, idle=IDLE))
        self._lock = threading.Lock()
        self._client: Any = None
        self._renew(None)

    def _renew(self, expired: Any) -> None:
        with self._lock:
            if self._client is expired:
                self.access = self._ask_access()
                self._client = _connect(self.access, self._http)

    def key(self, digest: str) -> str:
        """Where Daytona's builder looks for a context of that hash."""
        return f"{self.access.organization}/{digest}/context.tar"

    def call(self, doing: str, operation: str, **arguments: Any) -> Any:
        """One S3 operation, retried where that may help."""

        def ask(client: Any) -> Any:
            with _errors(doing):
                return getattr(client, operation)(Bucket=self.access.bucket, **arguments)

        def attempt() -> Any:
            client = self._client
            try:
                return ask(client)
            except RemoteFailed as error:
                if "ExpiredToken" not in error.message:
                    raise
                self._renew(client)
                return ask(self._client)

        return retry.call(attempt, policy=self._policy)

    def has(self, part: Part) -> bool:
        try:
            reply = self.call(
                "looking for a part of the context", "head_object", Key=self.key(part.digest)
            )
        except RemoteFailed as error:
            # S3 says 403 for what is not there to those who may not list.
            if error.status in {403, 404}:
                return False
            raise
        return int(reply["ContentLength"]) == part.bytes


@contextlib.contextmanager
def _errors(doing: str) -> Iterator[None]:
    """Botocore's errors as `RemoteFailed`."""
    import botocore.exceptions as errors  # noqa: PLC0415 - heavy

    try:
        yield
    except errors.ClientError as error:
        fields = error.response.get("Error", {})
        metadata = error.response.get("ResponseMetadata", {})
        status, code = int(metadata.get("HTTPStatusCode", 0)), str(fields.get("Code", ""))
        if status == 400 and code in _PASSING_CODES:
            status = 503
        message = f"{code} {fields.get('Message', '')}".strip()
        headers = metadata.get("HTTPHeaders") or {}
        response = Response(status=status, headers=headers, body=b"")
        raise _STORAGE.failure(doing, response, message=message) from error
    except errors.BotoCoreError as error:
        problem = console.printable(str(error))[:200]
        fix = DAYTONA.advice["rejected"]
        raise RemoteFailed(f"{doing}: {problem}", kind="rejected", fix=fix) from error


def _connect(access: StorageAccess, client: http.Client) -> Any:
    """Botocore's client, whose requests go out over `client`."""
    import botocore.session  # noqa: PLC0415 - heavy
    from botocore.config import Config  # noqa: PLC0415

    local = addresses.is_loopback(addresses.host_of(access.url))
    if urlsplit(access.url).scheme != "https" and not local:
        raise TaskError("the object storage's address is not HTTPS: nothing is sent there")
    # Neither ~/.aws nor AWS_* has a say in this: the credentials are Daytona's.
    no_source = (None, None, None, None)
    session = botocore.session.Session(  # type: ignore[no-untyped-call]
        session_vars={
            "profile": no_source,
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )
    s3 = session.create_client(
        "s3",
        endpoint_url=access.url,
        region_name=access.region,
        aws_access_key_id=access.access_key,
        aws_secret_access_key=access.secret,
        aws_session_token=access.session_token,
        config=Config(  # type: ignore[no-untyped-call]
            retries={"total_max_attempts": 1},  # tasks.base.retry does that, and says so
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    s3.meta.events.register("before-send.s3", _Sender(client))
    return s3


@dataclass(frozen=True)
class _Sender:
    """Sends what botocore has signed: proxies, certificates and bounds are those of the project."""

    client: http.Client

    def __call__(self, *, request: Any, **_context: Any) -> Any:
        from botocore.awsrequest import AWSResponse  # noqa: PLC0415 - heavy

        body = request.body.read() if hasattr(request.body, "read") else request.body
        response = self.client.send(
            request.method,
            request.url,
            doing="uploading the context",
            headers={name: _decoded(value) for name, value in request.headers.items()},
            body=body.encode() if isinstance(body, str) else body,
        )
        return AWSResponse(  # type: ignore[no-untyped-call]
            request.url, response.status, response.headers, _Body(response.body)
        )


def _decoded(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


class _Body(io.BytesIO):
    """A reply's body as botocore reads it."""

    def stream(self, **_options: Any) -> Iterator[bytes]:
        yield self.read()
