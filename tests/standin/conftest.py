"""One stand-in for all tests, driven by the real SDK; each test starts without faults."""

from __future__ import annotations

import hashlib
import io
import tarfile
import time
import uuid
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest
from botocore.config import Config
from daytona import CreateSandboxFromSnapshotParams, Daytona, DaytonaConfig
from daytona_api_client import (
    ApiClient,
    Configuration,
    CreateSnapshot,
    ObjectStorageApi,
    SnapshotsApi,
)

from tasks import standin
from tasks.base import waiting
from tasks.base.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from daytona import Sandbox
    from daytona_api_client import SnapshotDto

    from tasks.standin import StandIn

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
def running() -> Iterator[StandIn]:
    try:
        with standin.running(standin.Settings(minute=1.0, check_every=0.2, removal=1.0)) as s:
            yield s
    except TaskError as error:
        pytest.exit(f"cannot test: {error}", returncode=error.exit_status)


@pytest.fixture
def s(running: StandIn) -> Iterator[StandIn]:
    yield running
    running.clear_faults()


@pytest.fixture
def sdk(s: StandIn) -> Daytona:
    return Daytona(DaytonaConfig(api_key=s.key, api_url=s.url, target="local"))


@pytest.fixture
def client(s: StandIn) -> ApiClient:
    return ApiClient(Configuration(host=s.url, access_token=s.key))


@pytest.fixture
def snapshots(client: ApiClient) -> SnapshotsApi:
    return SnapshotsApi(client)


@pytest.fixture
def name() -> str:
    return f"test--{uuid.uuid4().hex[:12]}"


def archive(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


class Bucket:
    """The object storage as another client than the SDK's sees it."""

    def __init__(self, access: Any) -> None:
        self.access = access
        session = botocore.session.get_session()  # type: ignore[no-untyped-call]
        self.client = session.create_client(
            "s3",
            region_name=access.region,
            endpoint_url=access.storage_url,
            aws_access_key_id=access.access_key,
            aws_secret_access_key=access.secret,
            aws_session_token=access.session_token,
            config=Config(  # type: ignore[no-untyped-call]
                retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}
            ),
        )

    def key(self, digest: str) -> str:
        return f"{self.access.organization_id}/{digest}/context.tar"

    def upload(self, content: bytes) -> str:
        """In parts, as the SDK does it."""
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        at = {"Bucket": self.access.bucket, "Key": self.key(digest)}
        upload = self.client.create_multipart_upload(**at)["UploadId"]
        parts = []
        for number, start in enumerate(range(0, max(len(content), 1), 5 << 20), 1):
            body = content[start : start + (5 << 20)]
            given = {**at, "UploadId": upload, "PartNumber": number}
            tag = self.client.upload_part(**given, Body=body)["ETag"]
            parts.append({"PartNumber": number, "ETag": tag})
        made = {"Parts": parts}
        self.client.complete_multipart_upload(**at, UploadId=upload, MultipartUpload=made)
        return digest


@pytest.fixture
def bucket(client: ApiClient) -> Bucket:
    return Bucket(ObjectStorageApi(client).get_push_access())


@pytest.fixture
def settled(snapshots: SnapshotsApi) -> Callable[..., SnapshotDto]:
    def wait(identity: str, *, until: tuple[str, ...] = ("active", "error", "build_failed")) -> Any:
        def there() -> SnapshotDto | None:
            now = snapshots.get_snapshot(identity)
            return now if now.state in until else None

        return waiting.until(there, what=f"{identity} {until}", timeout=60)

    return wait


@pytest.fixture
def create(snapshots: SnapshotsApi) -> Callable[..., SnapshotDto]:
    """POST /snapshots and nothing else."""

    def post(name: str, dockerfile: str = "", hashes: tuple[str, ...] = (), **more: Any) -> Any:
        body: dict[str, Any] = {"name": name, **more}
        if dockerfile:
            body["buildInfo"] = {"dockerfileContent": dockerfile, "contextHashes": list(hashes)}
        return snapshots.create_snapshot(CreateSnapshot.from_dict(body) or CreateSnapshot(name=""))

    return post


@pytest.fixture(scope="session")
def ready(running: StandIn) -> str:
    """The name of an active snapshot whose sandboxes serve on port 3000."""
    client = ApiClient(Configuration(host=running.url, access_token=running.key))
    bucket = Bucket(ObjectStorageApi(client).get_push_access())
    digest = bucket.upload(archive({"server": SERVER}))
    body = {
        "name": "ready",
        "buildInfo": {"dockerfileContent": DOCKERFILE, "contextHashes": [digest]},
    }
    made = running.snapshots.create(body)
    waiting.until(lambda: made.state in {"active", "error"}, what="the build", timeout=60)
    assert made.state == "active", made.error
    return made.name


@pytest.fixture
def make(sdk: Daytona, ready: str) -> Iterator[Callable[..., Sandbox]]:
    made: list[Sandbox] = []

    def create(**fields: Any) -> Sandbox:
        made.append(sdk.create(CreateSandboxFromSnapshotParams(snapshot=ready, **fields)))
        return made[-1]

    yield create
    for sandbox in made:
        end(sandbox)


def end(sandbox: Sandbox) -> None:
    """Delete it, be it gone already or in the middle of something."""
    from daytona import DaytonaConflictError, DaytonaNotFoundError

    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            sandbox.delete()
        except DaytonaNotFoundError:
            return
        except DaytonaConflictError:
            time.sleep(0.2)
        else:
            return
