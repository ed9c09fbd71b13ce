"""The stand-in as tests use it: the process that users start, driven by its control interface.

docs/stand-in.md describes that interface.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from tasks.sandbox import stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True)
class SnapshotView:
    """A snapshot as the control interface shows it."""

    id: str
    name: str
    state: str
    error: str | None
    ref: str | None


@dataclass(frozen=True)
class SandboxView:
    """A sandbox as the control interface shows it; intervals in minutes."""

    id: str
    name: str
    state: str
    snapshot: str
    labels: Mapping[str, str]
    auto_stop: int
    auto_delete: int
    time_to_live: int


class StandInClient:
    """Speaks to a running stand-in. Threads may share it."""

    def __init__(self, environment: Mapping[str, str], control_url: str) -> None:
        #: Makes the SDK and our own commands use the stand-in.
        self.environment = dict(environment)
        self.url = self.environment["DAYTONA_API_URL"]
        self.key = self.environment["DAYTONA_API_KEY"]
        self.origin = self.url.removesuffix("/api")
        self.headers = {"Authorization": f"Bearer {self.key}"}
        options: dict[str, Any] = {"headers": self.headers, "timeout": 120, "trust_env": False}
        self._control = httpx.Client(base_url=control_url, **options)
        #: Asks Daytona's API, as any other client does.
        self.api = httpx.Client(base_url=self.url, **options)

    def close(self) -> None:
        self._control.close()
        self.api.close()

    # ── faults and settings ─────────────────────────────────────────────────────────────────

    def inject(self, kind: str, **details: Any) -> InjectedFaultView:
        """For example `inject("status", on="POST /api/snapshots", status=429, times=2)`."""
        fault = self._ask("POST", "/faults", json={"kind": kind, **details})
        return InjectedFaultView(self, fault["id"])

    #: The name that tests/daytona and tests/workflows still use.
    fault = inject

    def faults(self) -> list[dict[str, Any]]:
        return list(self._ask("GET", "/faults"))

    def clear_faults(self) -> None:
        self._ask("DELETE", "/faults")

    def configure(self, **settings: Any) -> None:
        self._ask("PATCH", "/settings", json=settings)

    # ── what there is ───────────────────────────────────────────────────────────────────────

    def state(self) -> dict[str, Any]:
        return dict(self._ask("GET", "/state"))

    def snapshots(self) -> dict[str, SnapshotView]:
        """Name → snapshot."""
        records = self._ask("GET", "/snapshots")
        return {name: SnapshotView(name=name, **record) for name, record in records.items()}

    def sandboxes(self) -> list[SandboxView]:
        records = self._ask("GET", "/sandboxes")
        return [SandboxView(id=identity, **record) for identity, record in records.items()]

    def requests(self, pattern: str = "*") -> list[str]:
        """Those whose `METHOD /path` matches, with their status."""
        return list(self._ask("GET", "/requests", params={"pattern": pattern}))

    def forget_requests(self) -> None:
        self._ask("DELETE", "/requests")

    # ── changing it ─────────────────────────────────────────────────────────────────────────

    def set_snapshot_state(self, name: str, state: str, *, error: str | None = None) -> None:
        body = {"state": state, "error": error}
        self._ask("PATCH", f"/snapshots/{quote(name, safe='')}", json=body)

    def forget_snapshot(self, name: str) -> None:
        self._ask("DELETE", f"/snapshots/{quote(name, safe='')}")

    def age_sandbox(self, identity: str, *, minutes: float) -> None:
        self._ask("POST", f"/sandboxes/{identity}/age", json={"seconds": minutes * 60})

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        response = self._control.request(method, path, **options)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text}"
        return response.json() if response.content else None


@dataclass(frozen=True)
class InjectedFaultView:
    """A fault that was injected, and is asked about again."""

    _client: StandInClient
    _id: int

    @property
    def struck(self) -> int:
        """How often it has struck."""
        return next(int(f["struck"]) for f in self._client.faults() if f["id"] == self._id)


def create_snapshot(
    stand_in: StandInClient, name: str, dockerfile: str, *context_hashes: str
) -> SnapshotView:
    """By the API; the build goes on."""
    build_info = {"dockerfileContent": dockerfile, "contextHashes": context_hashes}
    body = {"name": name, "buildInfo": build_info}
    stand_in.api.post("/snapshots", json=body).raise_for_status()
    return stand_in.snapshots()[name]


def delete_everything(
    stand_in: StandInClient, *, except_snapshots: frozenset[str] = frozenset()
) -> None:
    """Ask for the deletion of all sandboxes and snapshots, as far as each can be deleted now."""
    for sandbox in stand_in.sandboxes():
        stand_in.api.delete(f"/sandbox/{sandbox.id}")
    for name, snapshot in stand_in.snapshots().items():
        if name not in except_snapshots:
            stand_in.api.delete(f"/snapshots/{snapshot.id}")


@contextmanager
def running(**settings: Any) -> Iterator[StandInClient]:
    """A stand-in with these settings, and nothing of it afterwards."""
    with stand_in.running() as process:
        client = StandInClient(process.environment, process.control_url)
        try:
            client.configure(**settings)
            yield client
        finally:
            client.close()
