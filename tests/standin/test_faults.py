from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import botocore.exceptions
import httpx
import pytest
from daytona import (
    CreateSandboxFromSnapshotParams,
    DaytonaAuthenticationError,
    DaytonaConflictError,
    DaytonaConnectionError,
    DaytonaError,
    DaytonaForbiddenError,
    DaytonaInternalServerError,
    DaytonaRateLimitError,
    DaytonaServiceUnavailableError,
    ListSandboxesQuery,
)
from daytona_api_client import ApiException

from tasks.base import waiting
from tests.standin.conftest import archive, end

if TYPE_CHECKING:
    from collections.abc import Callable

    from daytona import Daytona, Sandbox
    from daytona_api_client import SnapshotDto, SnapshotsApi

    from tasks.standin import StandIn
    from tests.standin.conftest import Bucket

    Create = Callable[..., SnapshotDto]
    Make = Callable[..., Sandbox]

TINY = 'FROM debian:trixie-slim\nENTRYPOINT ["sleep", "infinity"]\n'
CREATE = "POST /api/sandbox"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, DaytonaAuthenticationError),
        (403, DaytonaForbiddenError),
        (409, DaytonaConflictError),
        (429, DaytonaRateLimitError),
        (500, DaytonaInternalServerError),
        (503, DaytonaServiceUnavailableError),
    ],
)
def test_the_sdks_errors(
    s: StandIn, sdk: Daytona, ready: str, status: int, error: type[DaytonaError]
) -> None:
    s.fault("status", on=CREATE, status=status)
    with pytest.raises(error) as raised:
        sdk.create(CreateSandboxFromSnapshotParams(snapshot=ready))
    assert raised.value.status_code == status
    assert s.state()["sandboxes"] == {}


def test_too_many_requests_with_a_time_to_wait(s: StandIn, sdk: Daytona) -> None:
    fault = s.fault("status", on="GET /api/snapshots", status=429, retry_after=1)
    begun = time.monotonic()
    sdk.snapshot.list()  # the SDK's own retry waits as it is told
    assert fault.struck == 1
    assert time.monotonic() - begun >= 1


def test_too_many_requests_without(s: StandIn, sdk: Daytona) -> None:
    s.fault("status", on="GET /api/snapshots", status=429)
    with pytest.raises(DaytonaRateLimitError) as raised:
        sdk.snapshot.list()
    assert "Retry-After" not in raised.value.headers
    assert raised.value.headers["retry-after-authenticated"] == "1"


def test_a_proxys_page_for_an_answer(s: StandIn, sdk: Daytona) -> None:
    s.fault("status", on="GET /api/snapshots", status=502, plain=True)
    with pytest.raises(DaytonaError, match="Bad Gateway") as raised:
        sdk.snapshot.list()
    assert raised.value.status_code == 502


def test_done_though_it_said_no(s: StandIn, sdk: Daytona, ready: str) -> None:
    s.fault("lost-reply", on=CREATE, status=502, plain=True)
    with pytest.raises(DaytonaError):
        sdk.create(CreateSandboxFromSnapshotParams(snapshot=ready, labels={"lost": "1"}))
    (left,) = sdk.list(ListSandboxesQuery(labels={"lost": "1"}))
    assert left.state == "started"
    end(left)


@pytest.mark.parametrize(("kind", "made"), [("drop", 0), ("lost-connection", 1)])
def test_the_connection_breaks(
    s: StandIn, sdk: Daytona, create: Create, name: str, kind: str, made: int
) -> None:
    s.fault(kind, on="POST /api/snapshots")
    with pytest.raises(Exception, match=r"(?i)connection|aborted|disconnected"):
        create(name, TINY)
    assert len([n for n in s.state()["snapshots"] if n == name]) == made
    s.fault(kind, on=CREATE)
    with pytest.raises(DaytonaConnectionError):
        sdk.create(CreateSandboxFromSnapshotParams(snapshot="no-such"))


def test_a_slow_answer(s: StandIn, snapshots: SnapshotsApi) -> None:
    s.fault("slow", on="GET /api/snapshots", seconds=1)
    begun = time.monotonic()
    snapshots.get_all_snapshots()
    assert time.monotonic() - begun >= 1


# ── snapshots ───────────────────────────────────────────────────────────────────────────────


def test_pending_forever(s: StandIn, create: Create, settled: Create, name: str) -> None:
    s.fault("pending-forever", on=name)
    made = create(name, TINY)
    time.sleep(1.5)
    assert settled(made.id, until=("pending",)).state == "pending"
    s.snapshots.delete(s.store.snapshot(made.id))


@pytest.mark.parametrize(
    ("kind", "state"), [("build-fails", "error"), ("build-failed-state", "build_failed")]
)
def test_a_build_that_fails(
    s: StandIn, create: Create, settled: Create, name: str, kind: str, state: str
) -> None:
    s.fault(kind, on=name)
    failed = settled(create(name, f"{TINY}# {name}\n").id)
    assert (failed.state, "exit code: 1" in str(failed.error_reason)) == (state, True)


def test_a_full_quota(s: StandIn, create: Create, name: str) -> None:
    s.fault("quota-full")
    with pytest.raises(ApiException, match="quota exceeded") as raised:
        create(name, TINY)
    assert raised.value.status == 403
    assert name not in s.state()["snapshots"]


def follow(s: StandIn, identity: str, *, timeout: float = 20) -> bytes:
    headers = {"Authorization": f"Bearer {s.key}"}
    text = b""
    url = f"{s.origin}/snapshots/{identity}/build-logs?follow=true"
    with httpx.stream("GET", url, headers=headers, timeout=timeout) as log:
        try:
            for chunk in log.iter_raw():
                text += chunk
        except httpx.RemoteProtocolError:
            text += b"<cut>"
    return text


def test_the_log_breaks_off(s: StandIn, create: Create, settled: Create, name: str) -> None:
    made = create(name, f"FROM debian:trixie-slim\nRUN echo {name}; sleep 1\n")
    s.fault("log-cut", on=name, count=20)
    cut = follow(s, made.id)
    assert (len(cut), cut[-5:]) == (25, b"<cut>")
    whole = follow(s, made.id)
    assert whole.startswith(cut[:20])
    assert name.encode() in whole
    settled(made.id)


def test_the_log_is_stuck(s: StandIn, create: Create, settled: Create, name: str) -> None:
    made = create(name, f"FROM debian:trixie-slim\nRUN echo {name}\n")
    s.fault("log-stuck", on=name)
    settled(made.id)
    with pytest.raises(httpx.ReadTimeout):
        follow(s, made.id, timeout=2)


def test_a_delete_that_does_not_delete(
    s: StandIn, snapshots: SnapshotsApi, create: Create, settled: Create, name: str
) -> None:
    made = create(name, TINY)
    settled(made.id)
    s.fault("delete-ignored", on=name)
    snapshots.remove_snapshot(made.id)
    time.sleep(1.5)
    assert snapshots.get_snapshot(made.id).state == "active"
    s.fault("status", on="DELETE /api/snapshots/*", status=500)
    with pytest.raises(ApiException):
        snapshots.remove_snapshot(made.id)
    snapshots.remove_snapshot(made.id)
    waiting.until(lambda: name not in s.state()["snapshots"], what="the end", timeout=10)


# ── uploads ─────────────────────────────────────────────────────────────────────────────────


def test_an_upload_breaks_off(s: StandIn, bucket: Bucket) -> None:
    content = archive({"big": b"x" * (6 << 20)})
    s.fault("upload-cut", count=1000, after=1)
    with pytest.raises(botocore.exceptions.HTTPClientError):
        bucket.upload(content)
    incomplete = s.state()["uploads"]["incomplete"]
    assert list(incomplete.values()) == [5 << 20]
    digest = bucket.upload(content)
    assert bucket.key(digest) in s.state()["uploads"]["objects"]


def test_the_object_storage_is_down(s: StandIn, bucket: Bucket) -> None:
    s.fault("upload-status", status=503)
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        bucket.upload(archive({"a": b"1"}))
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503


# ── sandboxes ───────────────────────────────────────────────────────────────────────────────


def test_a_failed_start_leaves_its_record(s: StandIn, sdk: Daytona, ready: str) -> None:
    s.fault("failed-start", on=ready)
    with pytest.raises(DaytonaError, match="failed to start") as raised:
        sdk.create(CreateSandboxFromSnapshotParams(snapshot=ready, labels={"failed": "1"}))
    assert raised.value.status_code == 400
    (left,) = sdk.list(ListSandboxesQuery(labels={"failed": "1"}))
    assert left.state == "error"
    end(left)
    waiting.until(lambda: left.id not in s.state()["sandboxes"], what="its end", timeout=10)


def test_a_sandbox_that_is_not_deleted(s: StandIn, make: Make, sdk: Daytona) -> None:
    sandbox = make()
    s.fault("delete-ignored", on=sandbox.id)
    sandbox.delete()
    assert sdk.get(sandbox.id).state == "started"


# ── by HTTP ─────────────────────────────────────────────────────────────────────────────────


def test_faults_by_http(s: StandIn, sdk: Daytona) -> None:
    headers = {"Authorization": f"Bearer {s.key}"}
    url = f"{s.origin}/_stand-in/faults"

    def post(value: dict[str, Any]) -> int:
        return httpx.post(url, json=value, headers=headers).status_code

    assert post({"kind": "nonsense"}) == 400
    assert post({"kind": "status", "on": "GET /api/snapshots", "status": 403}) == 200
    with pytest.raises(DaytonaForbiddenError):
        sdk.snapshot.list()
    told = httpx.get(url, headers=headers).json()
    assert [(f["kind"], f["struck"]) for f in told] == [("status", 1)]
    before = s.requests.count("GET /api/snapshots")
    sdk.snapshot.list()
    assert s.requests.count("GET /api/snapshots") == before + 1
    assert httpx.delete(url, headers=headers).status_code == 204
    assert httpx.get(url, headers=headers).json() == []
