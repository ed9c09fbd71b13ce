"""The whole stand-in: its servers, its records, and what it takes to end without a trace."""

from __future__ import annotations

import secrets
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread
import docker
import uvicorn
from starlette.applications import Starlette

from tasks.base import programs, waiting
from tasks.base.errors import TaskError
from tasks.daytona.adapter import LOOPBACK_VARIABLE
from tasks.engine import discovery
from tasks.sandbox.providers.docker import DockerProvider
from tasks.sandbox.run import Run
from tasks.standin.api import Api
from tasks.standin.children import LOOPBACK, free_port
from tasks.standin.containers import Containers
from tasks.standin.faults import STORAGE, Door, Fault, Faults, Log
from tasks.standin.preview import DOMAIN, Previews
from tasks.standin.registry import Registry
from tasks.standin.runner import Runner
from tasks.standin.sandboxes import Sandboxes
from tasks.standin.settings import Settings
from tasks.standin.snapshots import Snapshots
from tasks.standin.states import Store
from tasks.standin.storage import Storage
from tasks.standin.toolbox import Toolbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp

    from tasks.engine.engine import Engine
    from tasks.standin.states import SnapshotState

#: Requests that may wait at a time: commands, and sandboxes being created.
_THREADS: Final = 200


class StandIn:
    """A running stand-in; made by `running`."""

    def __init__(self, settings: Settings, run: Run, found: Engine, stack: ExitStack) -> None:
        self.settings = settings
        self.run = run
        self.ending = False
        self.key = f"dtn_{secrets.token_hex(32)}"
        self.store = Store()
        self.faults = Faults()
        self.requests = Log()
        self.storage = Storage(run.folder)
        stack.callback(self.storage.stop)
        self.registry = Registry(run.folder)
        stack.callback(self.registry.stop)
        client = docker.DockerClient(**found.sdk_arguments(), timeout=600, max_pool_size=_THREADS)
        stack.callback(client.close)
        self.containers = Containers(client, run)
        self.runner = Runner(found, run, self.storage, run.folder)
        self.snapshots = Snapshots(self.store, self.runner, self.registry, self.faults, settings)
        stack.callback(self.snapshots.end)
        self.sandboxes = Sandboxes(self.store, self.runner, self.containers, self.faults, settings)
        stack.callback(self.sandboxes.end)
        self.port = settings.port or free_port()
        self.origin = f"http://{LOOPBACK}:{self.port}"
        api = Api(self)
        app = Starlette(routes=[*api.routes(), *Toolbox(self, api).routes()])
        self.previews = Previews(app, self)
        self._serve(Door(self.previews, self.faults, self.requests), stack)

    @property
    def url(self) -> str:
        return f"{self.origin}/api"

    @property
    def toolbox_url(self) -> str:
        return f"{self.origin}/toolbox"

    @property
    def environment(self) -> dict[str, str]:
        """What to set for the SDK and for our own commands."""
        return {
            "DAYTONA_API_URL": self.url,
            "DAYTONA_API_KEY": self.key,
            "DAYTONA_TARGET": "local",
            LOOPBACK_VARIABLE: "1",  # for our own commands; the SDK does not know it
        }

    def preview_url(self, label: str) -> str:
        return f"http://{label}.{DOMAIN}:{self.port}"

    def _serve(self, app: ASGIApp, stack: ExitStack) -> None:
        config = uvicorn.Config(
            app,
            host=LOOPBACK,
            port=self.port,
            log_level="critical",  # the door tells what goes wrong
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        server = _Server(config)
        thread = threading.Thread(target=server.run, daemon=True, name="stand-in")
        thread.start()

        def stop() -> None:
            self.ending = True
            server.should_exit = True
            thread.join(10)

        stack.callback(stop)

        def listens() -> bool:
            if not thread.is_alive():
                raise TaskError(f"the stand-in cannot listen on port {self.port}")
            return bool(server.started)

        waiting.until(listens, what="the start of the stand-in", timeout=20)

    # ── for tests ───────────────────────────────────────────────────────────────────────────

    def fault(self, kind: str, **details: Any) -> Fault:
        """Inject a fault: `s.fault("status", on="POST /api/snapshots", status=429, times=2)`."""
        fault = Fault.from_json({"kind": kind, **details})
        self.inject(fault)
        return fault

    def inject(self, fault: Fault) -> None:
        if fault.kind in STORAGE:
            self.storage.fault(fault)
        else:
            self.faults.add(fault)

    def clear_faults(self) -> None:
        self.faults.clear()
        self.storage.fault(None)

    def set_snapshot_state(
        self, name: str, state: SnapshotState, *, error: str | None = None
    ) -> None:
        """Put a snapshot where nothing leads in the time a test has: `inactive` after 14 days."""
        with self.store.lock:
            snapshot = self.store.snapshot(name)
            snapshot.state, snapshot.error = state, error

    def state(self) -> dict[str, Any]:
        """All there is, and was asked for."""
        with self.store.lock:
            snapshots = {s.name: s.state for s in self.store.snapshots.values()}
            sandboxes = {
                s.id: {"name": s.name, "state": s.state, "labels": dict(s.labels)}
                for s in self.store.sandboxes.values()
            }
        return {
            "snapshots": snapshots,
            "sandboxes": sandboxes,
            "uploads": self.storage.state(),
            "pushed": self.registry.repositories(),
            "unfinished_pushes": self.registry.unfinished(),
            "containers": sorted(c["Names"][0].lstrip("/") for c in self.containers.mine()),
            "images": self.containers.images(),
            "requests": [f"{m} {p} {status}" for m, p, status in self.requests.lines],
        }


class _Server(uvicorn.Server):
    """In a thread: signals stay with whoever started us."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: Any = None) -> None:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
        await super().startup(sockets)


@contextmanager
def running(settings: Settings | None = None) -> Iterator[StandIn]:
    """A stand-in on loopback, on this machine's engine; nothing of it is left afterwards."""
    programs.require_registry()
    found = discovery.require()
    provider = DockerProvider.connect()
    with ExitStack() as stack:
        stack.callback(provider.close)
        run = stack.enter_context(Run(provider))
        yield StandIn(settings or Settings(), run, found, stack)
