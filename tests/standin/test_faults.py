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
from tests.standin.conftest import delete, make_archive

if TYPE_CHECKING:
    from collections.abc import Callable

    from daytona import Daytona, Sandbox
    from daytona_api_client import SnapshotDto, SnapshotsApi

    from tests.support.bucket import Bucket
    from tests.support.standin import StandInClient

    SnapshotCreator = Callable[..., SnapshotDto]
    SnapshotWaiter = Callable[..., SnapshotDto]
    SandboxCreator = Callable[..., Sandbox]

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
def test_a_status_fault_raises_the_sdks_error(
    stand_in: StandInClient,
    sdk: Daytona,
    server_snapshot: str,
    status: int,
    error: type[DaytonaError],
) -> None:
    stand_in.inject("status", on=CREATE, status=status)
    with pytest.raises(error) as caught:
        sdk.create(CreateSandboxFromSnapshotParams(snapshot=server_snapshot))
    assert caught.value.status_code == status
    assert stand_in.sandboxes() == []


def test_the_sdk_waits_as_long_as_retry_after_says(stand_in: StandInClient, sdk: Daytona) -> None:
    fault = stand_in.inject("status", on="GET /api/snapshots", status=429, retry_after=1)
    start = time.monotonic()
    sdk.snapshot.list()  # the SDK's own retry waits as it is told
    assert fault.struck == 1
    assert time.monotonic() - start >= 1


def test_a_429_without_retry_after_is_not_retried(stand_in: StandInClient, sdk: Daytona) -> None:
    stand_in.inject("status", on="GET /api/snapshots", status=429)
    with pytest.raises(DaytonaRateLimitError) as caught:
        sdk.snapshot.list()
    assert "Retry-After" not in caught.value.headers
    assert caught.value.headers["retry-after-authenticated"] == "1"


def test_a_plain_fault_answers_with_a_page(stand_in: StandInClient, sdk: Daytona) -> None:
    stand_in.inject("status", on="GET /api/snapshots", status=502, plain=True)
    with pytest.raises(DaytonaError, match="Bad Gateway") as caught:
        sdk.snapshot.list()
    assert caught.value.status_code == 502


def test_a_lost_reply_creates_the_sandbox_all_the_same(
    stand_in: StandInClient, sdk: Daytona, server_snapshot: str
) -> None:
    stand_in.inject("lost-reply", on=CREATE, status=502, plain=True)
    with pytest.raises(DaytonaError):
        sdk.create(CreateSandboxFromSnapshotParams(snapshot=server_snapshot, labels={"lost": "1"}))
    (sandbox,) = sdk.list(ListSandboxesQuery(labels={"lost": "1"}))
    assert sandbox.state == "started"
    delete(sandbox)


@pytest.mark.parametrize(("kind", "count"), [("drop", 0), ("lost-connection", 1)])
def test_a_connection_fault_breaks_the_connection(
    stand_in: StandInClient,
    sdk: Daytona,
    create_snapshot: SnapshotCreator,
    snapshot_name: str,
    kind: str,
    count: int,
) -> None:
    stand_in.inject(kind, on="POST /api/snapshots")
    with pytest.raises(Exception, match=r"(?i)connection|aborted|disconnected"):
        create_snapshot(snapshot_name, TINY)
    assert int(snapshot_name in stand_in.snapshots()) == count
    stand_in.inject(kind, on=CREATE)
    with pytest.raises(DaytonaConnectionError):
        sdk.create(CreateSandboxFromSnapshotParams(snapshot="no-such"))


def test_a_slow_fault_delays_the_answer(
    stand_in: StandInClient, snapshots_api: SnapshotsApi
) -> None:
    stand_in.inject("slow", on="GET /api/snapshots", seconds=1)
    start = time.monotonic()
    snapshots_api.get_all_snapshots()
    assert time.monotonic() - start >= 1


# ── snapshots ───────────────────────────────────────────────────────────────────────────────


def test_a_pending_forever_snapshot_stays_pending(
    stand_in: StandInClient,
    snapshots_api: SnapshotsApi,
    create_snapshot: SnapshotCreator,
    wait_for_state: SnapshotWaiter,
    snapshot_name: str,
) -> None:
    stand_in.inject("pending-forever", on=snapshot_name)
    snapshot = create_snapshot(snapshot_name, TINY)
    time.sleep(1.5)
    assert wait_for_state(snapshot.id, states=("pending",)).state == "pending"
    snapshots_api.remove_snapshot(snapshot.id)


@pytest.mark.parametrize(
    ("kind", "state"), [("build-fails", "error"), ("build-failed-state", "build_failed")]
)
def test_a_build_fault_ends_in_its_state(
    stand_in: StandInClient,
    create_snapshot: SnapshotCreator,
    wait_for_state: SnapshotWaiter,
    snapshot_name: str,
    kind: str,
    state: str,
) -> None:
    stand_in.inject(kind, on=snapshot_name)
    snapshot = wait_for_state(create_snapshot(snapshot_name, f"{TINY}# {snapshot_name}\n").id)
    assert (snapshot.state, "exit code: 1" in str(snapshot.error_reason)) == (state, True)


def test_a_full_quota_refuses_a_snapshot(
    stand_in: StandInClient, create_snapshot: SnapshotCreator, snapshot_name: str
) -> None:
    stand_in.inject("quota-full")
    with pytest.raises(ApiException, match="quota exceeded") as caught:
        create_snapshot(snapshot_name, TINY)
    assert caught.value.status == 403
    assert snapshot_name not in stand_in.snapshots()


def follow(stand_in: StandInClient, identity: str, *, timeout: float = 20) -> bytes:
    text = b""
    url = f"{stand_in.origin}/snapshots/{identity}/build-logs?follow=true"
    with httpx.stream("GET", url, headers=stand_in.headers, timeout=timeout) as log:
        try:
            for chunk in log.iter_raw():
                text += chunk
        except httpx.RemoteProtocolError:
            text += b"<cut>"
    return text


def test_a_cut_log_breaks_off_once(
    stand_in: StandInClient,
    create_snapshot: SnapshotCreator,
    wait_for_state: SnapshotWaiter,
    snapshot_name: str,
) -> None:
    snapshot = create_snapshot(
        snapshot_name, f"FROM debian:trixie-slim\nRUN echo {snapshot_name}; sleep 1\n"
    )
    stand_in.inject("log-cut", on=snapshot_name, count=20)
    cut_log = follow(stand_in, snapshot.id)
    assert (len(cut_log), cut_log[-5:]) == (25, b"<cut>")
    full_log = follow(stand_in, snapshot.id)
    assert full_log.startswith(cut_log[:20])
    assert snapshot_name.encode() in full_log
    wait_for_state(snapshot.id)


def test_a_stuck_log_does_not_end(
    stand_in: StandInClient,
    create_snapshot: SnapshotCreator,
    wait_for_state: SnapshotWaiter,
    snapshot_name: str,
) -> None:
    snapshot = create_snapshot(
        snapshot_name, f"FROM debian:trixie-slim\nRUN echo {snapshot_name}\n"
    )
    stand_in.inject("log-stuck", on=snapshot_name)
    wait_for_state(snapshot.id)
    with pytest.raises(httpx.ReadTimeout):
        follow(stand_in, snapshot.id, timeout=2)


def test_an_ignored_deletion_leaves_the_snapshot(
    stand_in: StandInClient,
    snapshots_api: SnapshotsApi,
    create_snapshot: SnapshotCreator,
    wait_for_state: SnapshotWaiter,
    snapshot_name: str,
) -> None:
    snapshot = create_snapshot(snapshot_name, TINY)
    wait_for_state(snapshot.id)
    stand_in.inject("delete-ignored", on=snapshot_name)
    snapshots_api.remove_snapshot(snapshot.id)
    time.sleep(1.5)
    assert snapshots_api.get_snapshot(snapshot.id).state == "active"
    stand_in.inject("status", on="DELETE /api/snapshots/*", status=500)
    with pytest.raises(ApiException):
        snapshots_api.remove_snapshot(snapshot.id)
    snapshots_api.remove_snapshot(snapshot.id)
    waiting.until(lambda: snapshot_name not in stand_in.snapshots(), what="the end", timeout=10)


# ── uploads ─────────────────────────────────────────────────────────────────────────────────


def test_a_cut_upload_stays_incomplete(stand_in: StandInClient, bucket: Bucket) -> None:
    content = make_archive({"big": b"x" * (6 << 20)})
    stand_in.inject("upload-cut", count=1000, skip=1)
    with pytest.raises(botocore.exceptions.HTTPClientError):
        bucket.upload(content)
    incomplete = stand_in.state()["uploads"]["incomplete"]
    assert list(incomplete.values()) == [5 << 20]
    digest = bucket.upload(content)
    assert bucket.key(digest) in stand_in.state()["uploads"]["objects"]


def test_an_upload_status_fault_refuses_an_upload(stand_in: StandInClient, bucket: Bucket) -> None:
    stand_in.inject("upload-status", status=503)
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        bucket.upload(make_archive({"a": b"1"}))
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503


# ── sandboxes ───────────────────────────────────────────────────────────────────────────────


def test_a_failed_start_leaves_its_record(
    stand_in: StandInClient, sdk: Daytona, server_snapshot: str
) -> None:
    stand_in.inject("failed-start", on=server_snapshot)
    with pytest.raises(DaytonaError, match="failed to start") as caught:
        sdk.create(
            CreateSandboxFromSnapshotParams(snapshot=server_snapshot, labels={"failed": "1"})
        )
    assert caught.value.status_code == 400
    (sandbox,) = sdk.list(ListSandboxesQuery(labels={"failed": "1"}))
    assert sandbox.state == "error"
    delete(sandbox)
    waiting.until(
        lambda: sandbox.id not in [s.id for s in stand_in.sandboxes()], what="its end", timeout=10
    )


def test_an_ignored_deletion_leaves_the_sandbox(
    stand_in: StandInClient, create_sandbox: SandboxCreator, sdk: Daytona
) -> None:
    sandbox = create_sandbox()
    stand_in.inject("delete-ignored", on=sandbox.id)
    sandbox.delete()
    assert sdk.get(sandbox.id).state == "started"


# ── the control interface ───────────────────────────────────────────────────────────────────


def test_faults_are_injected_listed_and_removed(stand_in: StandInClient, sdk: Daytona) -> None:
    headers = stand_in.headers
    url = f"{stand_in.origin}/_stand-in/faults"

    def post(value: dict[str, Any]) -> int:
        return httpx.post(url, json=value, headers=headers).status_code

    assert post({"kind": "nonsense"}) == 400
    assert post({"kind": "status", "on": "GET /api/snapshots", "status": 403}) == 200
    with pytest.raises(DaytonaForbiddenError):
        sdk.snapshot.list()
    faults = httpx.get(url, headers=headers).json()
    assert [(f["kind"], f["struck"]) for f in faults] == [("status", 1)]
    stand_in.forget_requests()
    sdk.snapshot.list()
    assert stand_in.requests("GET /api/snapshots") == ["GET /api/snapshots 200"]
    assert httpx.delete(url, headers=headers).status_code == 204
    assert httpx.get(url, headers=headers).json() == []
