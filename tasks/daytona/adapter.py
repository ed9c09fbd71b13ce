"""The one way to Daytona: the SDK's generated clients, with deadlines and errors of our own.

Requests (paths, encoding, models) are the SDK's. Three things of it are not used, since they fail
in ways that nobody sees (SDK 0.226.1, recheck at each upgrade):
 - `daytona.Daytona`: its waits have no limit or arm SIGALRM, its log thread outlives Ctrl-C,
   `create()` loses the id of a sandbox that the server made before something went wrong.
 - its reading of replies: one missing field makes an error of a success. We read what we need.
 - urllib3's silent retries: `tasks.base.retry` says what it does, and waits as the server asks.
"""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from tasks.base import addresses, console, retry
from tasks.base.errors import BadInput, TaskError
from tasks.base.retry import RemoteFailed
from tasks.daytona.snapshot import Snapshot, check_image, check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

T = TypeVar("T")

DEFAULT_URL: Final = "https://app.daytona.io/api"
KEYS_PAGE: Final = "https://app.daytona.io/dashboard/keys"
#: Set (to 1) where plain HTTP to this machine is wanted: by the stand-in, for its own commands.
LOOPBACK_VARIABLE: Final = "DAYTONA_ALLOW_LOOPBACK_HTTP"
#: Seconds to connect, and without a byte of reply.
TIMEOUT: Final = (10.0, 60.0)
_SOURCE: Final = "iterate-sandbox"

_REDACTED: Final = "[redacted]"


# ── credentials ─────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """From the environment only. The key is in no `repr`, so it is in no traceback either."""

    api_key: str = field(repr=False)
    api_url: str = DEFAULT_URL
    target: str | None = None

    @property
    def is_local(self) -> bool:
        return addresses.is_loopback(addresses.host_of(self.api_url))


def credentials(environment: Mapping[str, str] = os.environ) -> Credentials:
    """What the environment says; raises `BadInput` before anything is started."""
    key = environment.get("DAYTONA_API_KEY")
    if key is None or not key.strip():
        what = "DAYTONA_API_KEY is not set" if key is None else "DAYTONA_API_KEY is blank"
        raise BadInput(
            what, fix=f"make a key at {KEYS_PAGE} and export it; --stand-in needs no account"
        )
    if key != key.strip() or not key.isascii() or not key.isprintable() or " " in key:
        raise BadInput(
            "DAYTONA_API_KEY has blanks, line breaks or other characters that no key has",
            fix=f"copy it again from {KEYS_PAGE}",
        )
    url = check_url(
        environment.get("DAYTONA_API_URL", "").strip() or DEFAULT_URL,
        allow_loopback=environment.get(LOOPBACK_VARIABLE) == "1",
    )
    target = environment.get("DAYTONA_TARGET", "").strip() or None
    return Credentials(api_key=key, api_url=url, target=target)


def is_local(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment names a stand-in; no credentials are needed to ask."""
    url = environment.get("DAYTONA_API_URL", "").strip()
    return addresses.is_loopback(addresses.host_of(url))


def check_url(text: str, *, allow_loopback: bool) -> str:
    """`text` if the key may be sent there: HTTPS, or this very machine where that is allowed."""
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        raise BadInput(
            "DAYTONA_API_URL is no address", fix=f"the usual one is {DEFAULT_URL}"
        ) from None
    # Never the text itself: it may hold a password.
    shown = console.printable(f"{parts.scheme}://{host}")
    if parts.username is not None or parts.password is not None:
        raise BadInput(
            f"DAYTONA_API_URL {shown} has a user or password in it",
            fix="leave them out; the key goes into DAYTONA_API_KEY",
        )
    if parts.scheme not in {"http", "https"} or not host or not text.isprintable():
        raise BadInput(
            f"DAYTONA_API_URL {shown} is no web address", fix=f"the usual one is {DEFAULT_URL}"
        )
    if parts.query or parts.fragment:
        raise BadInput(f"DAYTONA_API_URL {shown} has a query in it", fix="leave it out")
    if addresses.is_link_local(host):
        raise BadInput(
            f"DAYTONA_API_URL {shown} is a link-local address: never an API, often a cloud's"
            " metadata",
            fix=f"the usual one is {DEFAULT_URL}",
        )
    if addresses.is_loopback(host):
        if not allow_loopback:
            raise BadInput(
                f"DAYTONA_API_URL {shown} is this machine itself",
                fix=f"--stand-in does that; or set {LOOPBACK_VARIABLE}=1",
            )
    elif parts.scheme != "https":
        raise BadInput(
            f"DAYTONA_API_URL {shown} would send the key unencrypted", fix="use https://"
        )
    return text.rstrip("/")  # the SDK would ask for `//snapshots`


# ── replies ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class StorageAccess:
    """Short-lived credentials for build contexts."""

    access_key: str
    secret: str = field(repr=False)
    session_token: str = field(repr=False)
    url: str
    organization: str
    bucket: str
    region: str


@dataclass(frozen=True, kw_only=True)
class RegistryAccess:
    """Short-lived credentials for images. `registry` is host[:port]."""

    username: str
    secret: str = field(repr=False)
    registry: str
    project: str


@dataclass(frozen=True, kw_only=True)
class RemoteSandbox:
    id: str
    name: str
    state: str
    labels: Mapping[str, str] = field(default_factory=dict)
    snapshot: str = ""
    reason: str = ""
    toolbox: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> RemoteSandbox:
        return cls(
            id=str(said["id"]),
            name=str(said.get("name") or said["id"]),
            state=str(said.get("state") or "unknown"),
            labels=dict(said.get("labels") or {}),
            snapshot=str(said.get("snapshot") or ""),
            reason=str(said.get("errorReason") or ""),
            toolbox=str(said.get("toolboxProxyUrl") or ""),
            raw=said,
        )


@dataclass(frozen=True, kw_only=True)
class Preview:
    url: str
    token: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Executed:
    exit_code: int
    result: str


# ── the API ─────────────────────────────────────────────────────────────────────────────────


class Daytona:
    """Thread-safe. Each method is one question; `tasks.base.retry` repeats those that may be."""

    def __init__(self, given: Credentials, *, policy: retry.Policy = retry.DEFAULT) -> None:
        import daytona_api_client as sdk  # noqa: PLC0415 - heavy, 0.4 s
        import daytona_toolbox_api_client as toolbox_sdk  # noqa: PLC0415

        self.credentials = given
        self._policy = policy
        self._sdk = sdk
        self._toolbox_sdk = toolbox_sdk
        client = sdk.ApiClient(self._configuration(sdk.Configuration, given.api_url))
        client.default_headers["X-Daytona-Source"] = _SOURCE
        self._client = client
        self._snapshots = sdk.SnapshotsApi(client)
        self._sandboxes = sdk.SandboxApi(client)
        self._storage = sdk.ObjectStorageApi(client)
        self._registries = sdk.DockerRegistryApi(client)
        self._toolboxes: dict[str, Any] = {}

    def _configuration(self, kind: Any, host: str) -> Any:
        # The bundle of a company's proxy counts here as it does for curl and requests.
        bundle = os.environ.get("SSL_CERT_FILE") or os.environ.get("REQUESTS_CA_BUNDLE")
        return kind(
            host=host,
            access_token=self.credentials.api_key,
            retries=False,
            ssl_ca_cert=bundle,
        )

    def close(self) -> None:
        for client in (self._client, *(api.api_client for api in self._toolboxes.values())):
            client.rest_client.pool_manager.clear()

    # ── snapshots ───────────────────────────────────────────────────────────────────────────

    def snapshot(self, name: str) -> Snapshot | None:
        """By name or id, the organisation's own; None when there is none."""
        said = self._or_none(
            f"looking for snapshot {name}",
            self._snapshots.get_snapshot_without_preload_content,
            name,
        )
        return None if said is None else Snapshot.read(said)

    def snapshots(self) -> list[Snapshot]:
        """All of them: pages are small, and `general` ones of Daytona's own are among them."""
        found: dict[str, Snapshot] = {}
        page = 1
        while True:
            said = self._ask(
                "listing the snapshots",
                self._snapshots.get_all_snapshots_without_preload_content,
                page=page,
                limit=100,
            )
            for item in said.get("items") or []:
                snapshot = Snapshot.read(item)
                found[snapshot.id] = snapshot
            if page >= int(said.get("totalPages") or 1):
                return list(found.values())
            page += 1

    def create_from_contexts(
        self, name: str, *, dockerfile: str, contexts: Sequence[str], **resources: int
    ) -> Snapshot:
        """Let Daytona build it. Sent once: what became of a lost reply, the caller finds out."""
        build = self._sdk.CreateBuildInfo(
            dockerfile_content=dockerfile, context_hashes=list(contexts)
        )
        return self._create(name, build_info=build, **resources)

    def create_from_image(self, name: str, *, image: str, **resources: int) -> Snapshot:
        """Let Daytona pull it. Sent once, as above."""
        return self._create(name, image_name=check_image(image), **resources)

    def _create(self, name: str, **options: Any) -> Snapshot:
        wanted = self._sdk.CreateSnapshot(
            name=check_name(name), region_id=self.credentials.target, **options
        )
        said = self._ask(
            f"creating snapshot {name}",
            self._snapshots.create_snapshot_without_preload_content,
            wanted,
            once=True,
        )
        return Snapshot.read(said)

    def delete_snapshot(self, snapshot: Snapshot) -> None:
        """Ask for it; that it is gone, the caller waits for."""
        self._or_none(
            f"deleting snapshot {snapshot.name}",
            self._snapshots.remove_snapshot_without_preload_content,
            snapshot.id,
        )

    def activate(self, snapshot: Snapshot) -> None:
        self._ask(
            f"activating snapshot {snapshot.name}",
            self._snapshots.activate_snapshot_without_preload_content,
            snapshot.id,
        )

    def build_logs_url(self, snapshot: Snapshot) -> str | None:
        said = self._or_none(
            f"asking for the log of {snapshot.name}",
            self._snapshots.get_snapshot_build_logs_url_without_preload_content,
            snapshot.id,
            once=True,
        )
        return str(said["url"]) if said and said.get("url") else None

    def stream(self, url: str, *, idle: float) -> Iterator[bytes]:
        """The bytes of a build log, until its end or `idle` seconds without any."""
        self._check_bearer(url)
        reply = self._client.rest_client.pool_manager.request(
            "GET",
            url + ("&" if "?" in url else "?") + "follow=true",
            headers={"Authorization": f"Bearer {self.credentials.api_key}"},
            preload_content=False,
            retries=False,
            redirect=False,
            timeout=_timeout(10.0, idle),
        )
        try:
            if reply.status != 200:
                raise retry.failure("reading the build log", reply.status)
            while chunk := reply.read1(65536):
                yield chunk
        finally:
            reply.close()

    def _check_bearer(self, url: str) -> None:
        """The key goes over HTTPS, or to this machine when the API itself is there."""
        parts = urlsplit(url)
        local = self.credentials.is_local and addresses.is_loopback(parts.hostname or "")
        if parts.scheme != "https" and not local:
            raise TaskError("the log's address is not HTTPS: the key is not sent there")

    # ── places to upload to ─────────────────────────────────────────────────────────────────

    def storage_access(self) -> StorageAccess:
        said = self._ask(
            "asking for access to the object storage",
            self._storage.get_push_access_without_preload_content,
        )
        return StorageAccess(
            access_key=str(said["accessKey"]),
            secret=str(said["secret"]),
            session_token=str(said["sessionToken"]),
            url=str(said["storageUrl"]).rstrip("/"),
            organization=str(said["organizationId"]),
            bucket=str(said["bucket"]),
            region=str(said.get("region") or "us-east-1"),
        )

    def registry_access(self) -> RegistryAccess:
        said = self._ask(
            "asking for access to the registry",
            self._registries.get_transient_push_access_without_preload_content,
        )
        return RegistryAccess(
            username=str(said["username"]),
            secret=str(said["secret"]),
            registry=str(said["registryUrl"]),
            project=str(said["project"]),
        )

    # ── sandboxes ───────────────────────────────────────────────────────────────────────────

    def create_sandbox(self, **wanted: Any) -> RemoteSandbox:
        """Sent once. The server waits up to 30 s for its start before it answers."""
        said = self._ask(
            f"creating a sandbox of {wanted.get('snapshot')}",
            self._sandboxes.create_sandbox_without_preload_content,
            self._sdk.CreateSandbox(target=self.credentials.target, **wanted),
            once=True,
        )
        return RemoteSandbox.read(said)

    def sandbox(self, name: str) -> RemoteSandbox | None:
        """By id or name; None when it is gone, or was never there."""
        said = self._or_none(
            f"looking for sandbox {name}",
            self._sandboxes.get_sandbox_without_preload_content,
            name,
        )
        if said is None or said.get("state") == "destroyed":
            return None
        return RemoteSandbox.read(said)

    def sandboxes(self, labels: Mapping[str, str] | None = None) -> list[RemoteSandbox]:
        """Those that carry all of `labels`, failed ones too; of all, without any."""
        found: dict[str, RemoteSandbox] = {}
        cursor: str | None = None
        while True:
            said = self._ask(
                "listing the sandboxes",
                self._sandboxes.list_sandboxes_without_preload_content,
                cursor=cursor,
                limit=200,
                labels=json.dumps(dict(labels)) if labels else None,
                include_errored_deleted=True,
            )
            for item in said.get("items") or []:
                sandbox = RemoteSandbox.read(item)
                # Not every server filters: what is deleted by this list must be ours for sure.
                if sandbox.state != "destroyed" and (
                    not labels or labels.items() <= sandbox.labels.items()
                ):
                    found[sandbox.id] = sandbox
            following = said.get("nextCursor")
            if not following or following == cursor:
                return list(found.values())
            cursor = str(following)

    def start_sandbox(self, identity: str) -> None:
        self._ask(
            f"starting sandbox {identity}",
            self._sandboxes.start_sandbox_without_preload_content,
            identity,
            timeout=(10.0, 90.0),
        )

    def stop_sandbox(self, identity: str) -> None:
        self._ask(
            f"stopping sandbox {identity}",
            self._sandboxes.stop_sandbox_without_preload_content,
            identity,
            timeout=(10.0, 90.0),
        )

    def delete_sandbox(self, identity: str) -> None:
        self._or_none(
            f"deleting sandbox {identity}",
            self._sandboxes.delete_sandbox_without_preload_content,
            identity,
        )

    def preview(self, identity: str, port: int) -> Preview:
        said = self._ask(
            f"asking for port {port} of sandbox {identity}",
            self._sandboxes.get_port_preview_url_without_preload_content,
            identity,
            port,
        )
        return Preview(url=str(said["url"]).rstrip("/"), token=str(said["token"]))

    # ── inside a sandbox ────────────────────────────────────────────────────────────────────

    def execute(self, sandbox: RemoteSandbox, command: str, *, timeout: float) -> Executed:
        """Run shell text. Sent once: nobody knows what a lost reply has done."""
        request = self._toolbox_sdk.ExecuteRequest(command=command, timeout=int(timeout) + 1)
        said = self._ask(
            f"running a command in {sandbox.name}",
            self._process(sandbox).execute_command_without_preload_content,
            request,
            once=True,
            timeout=(10.0, timeout + 15),
        )
        status = said.get("exitCode", said.get("code"))
        return Executed(
            exit_code=-1 if status is None else int(status), result=str(said.get("result") or "")
        )

    def entrypoint_log(self, sandbox: RemoteSandbox) -> str:
        """What the image's entry point wrote: it is a child of Daytona's own process there."""
        reply = self._reply(
            f"reading the console of {sandbox.name}",
            self._process(sandbox).get_entrypoint_logs_without_preload_content,
        )
        text = reply.decode(errors="replace")
        try:
            said = json.loads(text)
        except ValueError:
            return text
        if isinstance(said, dict):
            return str(said.get("output") or f"{said.get('stdout', '')}{said.get('stderr', '')}")
        return str(said)

    def _process(self, sandbox: RemoteSandbox) -> Any:
        base = sandbox.toolbox
        if not base:
            said = self._ask(
                f"asking for the toolbox of {sandbox.name}",
                self._sandboxes.get_toolbox_proxy_url_without_preload_content,
                sandbox.id,
            )
            base = str(said["url"])
        host = f"{base.rstrip('/')}/{sandbox.id}"
        if host not in self._toolboxes:
            self._check_bearer(host)
            sdk = self._toolbox_sdk
            client = sdk.ApiClient(self._configuration(sdk.Configuration, host))
            # This SDK leaves the header to its caller.
            client.default_headers["Authorization"] = f"Bearer {self.credentials.api_key}"
            self._toolboxes[host] = sdk.ProcessApi(client)
        return self._toolboxes[host]

    # ── asking ──────────────────────────────────────────────────────────────────────────────

    def _or_none(self, doing: str, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
        try:
            return self._ask(doing, method, *args, **options)
        except RemoteFailed as error:
            if error.kind == "not-found":
                return None
            raise

    def _ask(
        self,
        doing: str,
        method: Callable[..., Any],
        *args: Any,
        once: bool = False,
        timeout: tuple[float, float] = TIMEOUT,
        **options: Any,
    ) -> Any:
        """The JSON of the reply, {} for none. Not `once`: as often as `base.retry` sees fit."""

        def one() -> Any:
            body = self._reply(doing, method, *args, timeout=timeout, **options)
            if not body.strip():
                return {}
            try:
                said = json.loads(body)
            except ValueError:
                raise RemoteFailed(
                    f"{doing}: the answer is not JSON: {_excerpt(body)}", kind="transient"
                ) from None
            return said

        try:
            return one() if once else retry.call(one, policy=self._policy)
        except KeyError as error:  # pragma: no cover - a server that speaks another language
            raise TaskError(f"{doing}: the answer lacks {error}") from error

    def _reply(
        self,
        doing: str,
        method: Callable[..., Any],
        *args: Any,
        timeout: tuple[float, float] = TIMEOUT,
        **options: Any,
    ) -> bytes:
        import pydantic  # noqa: PLC0415 - comes with the SDK
        import urllib3  # noqa: PLC0415

        try:
            reply = method(*args, _request_timeout=timeout, **options)
            body: bytes = reply.data if isinstance(reply.data, bytes) else reply.read()
        except urllib3.exceptions.HTTPError as error:
            raise RemoteFailed(f"{doing}: {_no_reply(error)}", kind="network") from error
        except (pydantic.ValidationError, self._sdk.ApiException) as error:
            said = console.printable(str(error))[:200]
            raise TaskError(f"{doing}: the SDK cannot send this: {said}") from error
        if 200 <= reply.status < 300:
            return body
        raise retry.failure(
            doing,
            reply.status,
            message=_message(body).replace(self.credentials.api_key, _REDACTED),
            headers=dict(reply.headers),
        )


def _timeout(connect: float, read: float) -> Any:
    import urllib3  # noqa: PLC0415

    return urllib3.Timeout(connect=connect, read=read)


def _message(body: bytes) -> str:
    """What an error reply says: Daytona's JSON, or whatever a proxy on the way sent instead."""
    try:
        said = json.loads(body)
    except ValueError:
        return _excerpt(body)
    if isinstance(said, dict):
        if isinstance(errors := said.get("errors"), list) and errors:
            return ", ".join(map(str, errors))
        return str(said.get("message") or said.get("error") or "")
    return str(said)


def _excerpt(body: bytes) -> str:
    text = re.sub(r"<[^<>]*>", " ", body[:2000].decode(errors="replace"))
    return console.printable(" ".join(text.split()))[:120] or "an empty reply"


def _no_reply(error: Exception) -> str:
    return f"no reply ({type(error).__name__}: {console.printable(str(error))[-160:]})"


def wait_until_gone(
    probe: Callable[[], object],
    *,
    what: str,
    timeout: float,
    state: Callable[[], str] = str,
) -> None:
    """Wait until `probe` finds nothing any more."""
    from tasks.base import waiting  # noqa: PLC0415

    waiting.until(lambda: probe() is None, what=what, timeout=timeout, state=state, interval=0.3)


def connect(environment: Mapping[str, str] = os.environ) -> Daytona:
    """On the account of the environment. Nothing is asked yet."""
    given = credentials(environment)
    try:
        return Daytona(given)
    except ImportError as error:
        raise TaskError(
            f"the Daytona SDK is not installed ({error})",
            fix="run this through nox, or install requirements/daytona.txt",
        ) from error


def now() -> float:
    return time.time()
