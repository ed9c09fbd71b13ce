"""One stand-in for all tests, driven by the real SDK; each test starts without faults."""

from __future__ import annotations

import io
import tarfile
import time
import uuid
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from daytona import CreateSandboxFromSnapshotParams, Daytona, DaytonaConfig
from daytona_api_client import (
    ApiClient,
    Configuration,
    CreateSnapshot,
    SnapshotsApi,
)

from tasks.base import waiting
from tasks.base.errors import TaskError
from tests.support import standin
from tests.support.bucket import Bucket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from daytona import Sandbox
    from daytona_api_client import SnapshotDto

    from tests.support.standin import StandInClient

#: Answers on port 3000 with the request as it came; Debian's smallest image has Perl alone.
SERVER = b"""#!/usr/bin/perl
use IO::Socket::INET; $| = 1; $SIG{CHLD} = 'IGNORE';
my $listen = IO::Socket::INET->new(LocalPort => 3000, Listen => 9, ReuseAddr => 1) or die;
print "listening, @ARGV\\n";
while (my $peer = $listen->accept) {
  my $text = ''; my $line;
  while (defined($line = <$peer>) && $line =~ /\\S/) { $text .= $line }
  print $peer "HTTP/1.0 200 OK\\r\\nContent-Length: " . length($text) . "\\r\\n\\r\\n" . $text;
  close $peer;
}
"""
DOCKERFILE = """FROM debian:trixie-slim
RUN useradd --create-home --uid 1000 someone && mkdir /work && chown someone /work
COPY server /usr/local/bin/server
ENV FROM_IMAGE=1
USER someone
WORKDIR /work
ENTRYPOINT ["/usr/local/bin/server", "it's", "a b"]
"""


def pytest_report_header() -> str:
    return f"the SDK is daytona {metadata.version('daytona')}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(180))


@pytest.fixture(scope="session")
def shared_stand_in() -> Iterator[StandInClient]:
    """Minutes of auto-stop, auto-delete and time to live last one second."""
    try:
        with standin.running(
            minute_seconds=1.0, clock_interval_seconds=0.2, removal_seconds=1.0
        ) as client:
            yield client
    except TaskError as error:
        pytest.exit(f"cannot test: {error}", returncode=error.exit_status)


@pytest.fixture
def stand_in(shared_stand_in: StandInClient) -> Iterator[StandInClient]:
    yield shared_stand_in
    shared_stand_in.clear_faults()


@pytest.fixture
def sdk(stand_in: StandInClient) -> Daytona:
    return Daytona(DaytonaConfig(api_key=stand_in.key, api_url=stand_in.url, target="local"))


@pytest.fixture
def api_client(stand_in: StandInClient) -> ApiClient:
    return ApiClient(Configuration(host=stand_in.url, access_token=stand_in.key))


@pytest.fixture
def snapshots_api(api_client: ApiClient) -> SnapshotsApi:
    return SnapshotsApi(api_client)


@pytest.fixture
def snapshot_name() -> str:
    return f"test--{uuid.uuid4().hex[:12]}"


def make_archive(files: Mapping[str, bytes]) -> bytes:
    """A tar of executable files."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for path, data in files.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(data), 0o755
            tar.addfile(member, io.BytesIO(data))
    return content.getvalue()


@pytest.fixture
def bucket(stand_in: StandInClient) -> Bucket:
    return Bucket.connect(url=stand_in.url, key=stand_in.key)


@pytest.fixture
def wait_for_state(snapshots_api: SnapshotsApi) -> Callable[..., SnapshotDto]:
    """Wait until a snapshot is in one of these states, and return it."""

    def wait(
        id_or_name: str, *, states: tuple[str, ...] = ("active", "error", "build_failed")
    ) -> Any:
        def snapshot_in_state() -> SnapshotDto | None:
            snapshot = snapshots_api.get_snapshot(id_or_name)
            return snapshot if snapshot.state in states else None

        return waiting.until(snapshot_in_state, what=f"{id_or_name} {states}", timeout=120)

    return wait


@pytest.fixture
def create_snapshot(snapshots_api: SnapshotsApi) -> Callable[..., SnapshotDto]:
    """POST /snapshots and nothing else."""

    def post(name: str, dockerfile: str = "", hashes: tuple[str, ...] = (), **fields: Any) -> Any:
        body: dict[str, Any] = {"name": name, **fields}
        if dockerfile:
            body["buildInfo"] = {"dockerfileContent": dockerfile, "contextHashes": list(hashes)}
        request = CreateSnapshot.from_dict(body)
        assert request
        return snapshots_api.create_snapshot(request)

    return post


@pytest.fixture(scope="session")
def server_snapshot(shared_stand_in: StandInClient) -> str:
    """The name of an active snapshot whose sandboxes serve on port 3000."""
    stand_in, name = shared_stand_in, "server"
    bucket = Bucket.connect(url=stand_in.url, key=stand_in.key)
    digest = bucket.upload(make_archive({"server": SERVER}))
    standin.create_snapshot(stand_in, name, DOCKERFILE, digest)
    waiting.until(
        lambda: stand_in.snapshots()[name].state in {"active", "error"},
        what="the build",
        timeout=120,
    )
    snapshot = stand_in.snapshots()[name]
    assert snapshot.state == "active", snapshot.error
    return name


@pytest.fixture
def create_sandbox(sdk: Daytona, server_snapshot: str) -> Iterator[Callable[..., Sandbox]]:
    sandboxes: list[Sandbox] = []

    def create(**fields: Any) -> Sandbox:
        params = CreateSandboxFromSnapshotParams(snapshot=server_snapshot, **fields)
        sandboxes.append(sdk.create(params))
        return sandboxes[-1]

    yield create
    for sandbox in sandboxes:
        delete(sandbox)


def delete(sandbox: Sandbox) -> None:
    """Delete it, be it gone already or in the middle of something."""
    from daytona import DaytonaConflictError, DaytonaNotFoundError

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            sandbox.delete()
        except DaytonaNotFoundError:
            return
        except DaytonaConflictError:
            time.sleep(0.2)
        else:
            return
