"""The whole stand-in: its parts put together, started, and ended without a trace."""

from __future__ import annotations

import secrets
import shutil
import socket
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread
import daytona_api_client
import daytona_toolbox_api_client
import uvicorn

from daytona_standin.authentication import ApiKey
from daytona_standin.build_log_api import BuildLogApi
from daytona_standin.child_processes import LOOPBACK
from daytona_standin.containers import SandboxContainers
from daytona_standin.control_api import ControlApi, FaultControlApi
from daytona_standin.engine import LocalEngine
from daytona_standin.errors import StandInError
from daytona_standin.faults import FaultBook
from daytona_standin.front_door import FrontDoor, RequestLog
from daytona_standin.image_builder import ImageBuilder
from daytona_standin.inventory import Inventory
from daytona_standin.object_storage import ObjectStorage
from daytona_standin.preview_proxy import PreviewLinks, PreviewProxy
from daytona_standin.push_registry import PushRegistry
from daytona_standin.records import REGION
from daytona_standin.routes import Route, server_routes
from daytona_standin.sandbox_api import PreviewLinkApi, SandboxApi, SandboxPresenter
from daytona_standin.sandbox_service import SandboxService
from daytona_standin.sandbox_settings_api import SandboxSettingsApi
from daytona_standin.settings import StandInSettings
from daytona_standin.site import Site, refuse_as_api, refuse_as_toolbox
from daytona_standin.snapshot_api import PushAccessApi, SnapshotApi
from daytona_standin.snapshot_service import SnapshotService
from daytona_standin.store import RecordStore
from daytona_standin.surface import Surface
from daytona_standin.sweeper import Sweeper
from daytona_standin.toolbox import Toolbox
from daytona_standin.toolbox_commands import CommandToolbox, SessionToolbox
from daytona_standin.toolbox_files import FileToolbox, FileTransferToolbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from starlette.types import ASGIApp

#: Requests that may wait at the same time: commands, and sandboxes that are being created.
_THREADS: Final = 200
#: Seconds for open requests to end before the server drops them.
_SHUTDOWN: Final = 10.0


@dataclass(frozen=True, kw_only=True)
class StandInOptions:
    """What the command line decides. `folder`: for its files, removed at the end."""

    registry_program: Path
    docker_program: str
    folder: Path | None = None
    port: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    ca_bundle: Path | None = None


class StandInServer:
    """Made by `running`."""

    def __init__(
        self, options: StandInOptions, folder: Path, engine: LocalEngine, stack: ExitStack
    ) -> None:
        self._engine = engine
        self._ending = threading.Event()
        self._key = ApiKey()
        self._settings = StandInSettings()
        self._store = RecordStore()
        self._faults = FaultBook()
        self._log = RequestLog()
        self._storage = ObjectStorage(folder)
        stack.callback(self._storage.stop)
        self._registry = PushRegistry(options.registry_program, folder)
        stack.callback(self._registry.stop)
        stack.callback(engine.remove_all)
        self._containers = SandboxContainers(engine, ca_bundle=options.ca_bundle)
        self._builder = ImageBuilder(
            engine,
            self._storage,
            folder,
            docker_program=options.docker_program,
            ca_bundle=options.ca_bundle,
        )
        self._snapshots = SnapshotService(
            self._store, self._builder, self._registry, self._faults, self._settings
        )
        stack.callback(self._snapshots.end)
        self._sandboxes = SandboxService(
            self._store, self._builder, self._containers, self._faults, self._settings
        )
        stack.callback(self._sandboxes.end)
        listener = _listen(options.port)
        port = listener.getsockname()[1]
        self._origin = f"http://{LOOPBACK}:{port}"
        self._links = PreviewLinks(port)
        self._serve(self._application(), listener, stack)

    @property
    def description(self) -> dict[str, Any]:
        """What a user needs: variables for the SDK, and where the control interface is."""
        return {
            "environment": {
                "DAYTONA_API_URL": f"{self._origin}/api",
                "DAYTONA_API_KEY": self._key.text,
                "DAYTONA_TARGET": REGION,
            },
            "control_url": f"{self._origin}/_stand-in",
        }

    def _application(self) -> FrontDoor:
        proxy = PreviewProxy(
            self._site(),
            links=self._links,
            store=self._store,
            containers=self._containers,
            key=self._key,
            settings=self._settings,
        )
        return FrontDoor(proxy, self._faults, self._log)

    def _site(self) -> Site:
        log_api = BuildLogApi(
            self._snapshots, self._store, self._builder, self._faults, self._ending
        )
        return Site(
            api=self._api(),
            toolbox=self._toolbox(),
            build_logs=Surface(
                "/snapshots",
                log_api.operations(),
                authenticate=self._key.require,
                refuse=refuse_as_toolbox,
                hides_unknown_routes=True,
            ),
            control=self._control(),
        )

    def _api(self) -> Surface:
        presenter = SandboxPresenter(self._settings, f"{self._origin}/toolbox")
        return Surface(
            "/api",
            [
                *PushAccessApi(self._storage, self._registry).operations(),
                *SnapshotApi(self._snapshots, self._store, self._origin).operations(),
                *SandboxApi(self._sandboxes, self._store, presenter).operations(),
                *SandboxSettingsApi(self._store, presenter).operations(),
                *PreviewLinkApi(self._store, self._links).operations(),
            ],
            authenticate=self._key.require,
            refuse=refuse_as_api,
            server_routes=server_routes(daytona_api_client),
        )

    def _toolbox(self) -> Surface:
        toolbox = Toolbox(self._store, self._containers)
        return Surface(
            "/toolbox",
            [
                *CommandToolbox(toolbox).operations(),
                *SessionToolbox(toolbox).operations(),
                *FileToolbox(toolbox).operations(),
                *FileTransferToolbox(toolbox).operations(),
            ],
            authenticate=self._key.require,
            refuse=refuse_as_toolbox,
            server_routes=[
                Route(route.method, f"/{{sandboxId}}{route.path}")
                for route in server_routes(daytona_toolbox_api_client)
            ],
            hides_unknown_routes=True,
            needs_json_type=False,
        )

    def _control(self) -> Surface:
        inventory = Inventory(
            store=self._store,
            engine=self._engine,
            builder=self._builder,
            storage=self._storage,
            registry=self._registry,
            log=self._log,
        )
        control = ControlApi(inventory, self._store, self._settings, self._log)
        faults = FaultControlApi(self._faults, self._storage)
        return Surface(
            "/_stand-in",
            [*control.operations(), *faults.operations()],
            authenticate=self._key.require,
            refuse=refuse_as_api,
            hides_unknown_routes=True,
        )

    def _serve(self, app: ASGIApp, listener: socket.socket, stack: ExitStack) -> None:
        config = uvicorn.Config(
            app,
            log_level="critical",  # the front door reports what goes wrong
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=1,
        )
        server = _ThreadServer(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True, name="server")
        thread.start()

        def stop() -> None:
            self._ending.set()
            server.should_exit = True
            thread.join(_SHUTDOWN)

        stack.callback(stop)
        server.is_serving.wait()


class _ThreadServer(uvicorn.Server):
    """Signals stay with the main thread."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_serving = threading.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
        try:
            await super().startup(sockets)
        finally:
            self.is_serving.set()


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((LOOPBACK, port))
    except OSError as error:
        raise StandInError(f"cannot listen on {LOOPBACK}:{port}: {error.strerror}") from error


@contextmanager
def running(options: StandInOptions) -> Iterator[StandInServer]:
    """A stand-in on loopback, on this machine's engine; nothing of it is left afterwards."""
    engine = LocalEngine(secrets.token_hex(5), extra_labels=options.labels, connections=_THREADS)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="daytona-standin-"))
    folder.mkdir(parents=True, exist_ok=True)
    # Should anything below fail, the sweeper notices the end of this process, and cleans up.
    sweeper = Sweeper(engine.identity, folder)
    with ExitStack() as stack:
        stack.callback(engine.close)
        yield StandInServer(options, folder, engine, stack)
    shutil.rmtree(folder, ignore_errors=True)
    sweeper.dismiss()
