from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from daytona import (
    CreateSnapshotParams,
    DaytonaConflictError,
    DaytonaError,
    DaytonaNotFoundError,
    Image,
)
from daytona_api_client import ApiException, DockerRegistryApi
from obstore.store import S3Store

from tests.standin.conftest import make_archive

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from daytona import Daytona
    from daytona_api_client import ApiClient, SnapshotDto, SnapshotsApi

    from tests.support.bucket import Bucket
    from tests.support.standin import StandInClient

    SnapshotCreator = Callable[..., SnapshotDto]
    SnapshotWaiter = Callable[..., SnapshotDto]

TINY = 'FROM debian:trixie-slim\nENTRYPOINT ["sleep", "infinity"]\n'


def status(error: pytest.ExceptionInfo[ApiException]) -> int:
    return int(error.value.status)


def test_the_sdk_builds_and_deletes_a_snapshot(
    stand_in: StandInClient, sdk: Daytona, snapshot_name: str, tmp_path: Path
) -> None:
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(f"FROM debian:trixie-slim\nRUN echo built of {snapshot_name}; sleep 1\n")
    log: list[str] = []
    params = CreateSnapshotParams(name=snapshot_name, image=Image.from_dockerfile(str(dockerfile)))
    snapshot = sdk.snapshot.create(params, on_logs=log.append)
    assert snapshot.state == "active"
    assert snapshot.entrypoint == ["sleep", "infinity"]
    assert f"built of {snapshot_name}" in "\n".join(log)
    assert sdk.snapshot.get(snapshot_name).id == snapshot.id
    assert snapshot_name in [item.name for item in sdk.snapshot.list().items]
    with pytest.raises(DaytonaConflictError, match="already exists"):
        sdk.snapshot.create(params)
    sdk.snapshot.delete(snapshot)
    # The name stays taken for a while.
    with pytest.raises(DaytonaConflictError):
        sdk.snapshot.create(params)
    deadline = time.monotonic() + 10
    while snapshot_name in stand_in.snapshots() and time.monotonic() < deadline:
        time.sleep(0.1)
    with pytest.raises(DaytonaNotFoundError):
        sdk.snapshot.get(snapshot_name)


def test_the_sdk_uploads_a_context(
    stand_in: StandInClient,
    sdk: Daytona,
    snapshot_name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It refuses plain HTTP, so only this test changes its store."""
    from daytona._sync import object_storage

    def store(*args: Any, **options: Any) -> Any:
        options["client_options"] = {**(options.get("client_options") or {}), "allow_http": True}
        return S3Store(*args, **options)

    monkeypatch.setattr(object_storage, "S3Store", store)
    (tmp_path / "file").write_bytes(b"x" * (11 << 20))
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(f"FROM debian:trixie-slim\nCOPY file /{snapshot_name}\n")
    uploads_at_first = stand_in.state()["uploads"]
    params = CreateSnapshotParams(name=snapshot_name, image=Image.from_dockerfile(str(dockerfile)))
    assert sdk.snapshot.create(params).state == "active"
    uploads_at_last = stand_in.state()["uploads"]
    assert uploads_at_last["puts"] - uploads_at_first["puts"] == 3
    assert len(uploads_at_last["objects"]) - len(uploads_at_first["objects"]) == 1


def test_a_context_is_flattened_and_its_dockerfile_wins(
    bucket: Bucket,
    create_snapshot: SnapshotCreator,
    wait_for_state: SnapshotWaiter,
    snapshot_name: str,
    stand_in: StandInClient,
) -> None:
    inner = b"FROM debian:trixie-slim\nCOPY . /c\nRUN echo this is the inner one\n"
    digest = bucket.upload(make_archive({"Dockerfile": inner, "a/b": b"x"}))
    snapshot = create_snapshot(
        snapshot_name, 'FROM nowhere:1\nENTRYPOINT ["/of", "the outer"]\n', (digest,)
    )
    assert wait_for_state(snapshot.id).state == "active"
    assert snapshot.entrypoint == ["/of", "the outer"]
    assert "this is the inner one" in read_log(stand_in, snapshot.id)


def test_a_snapshot_of_equal_content_is_active_at_once(
    create_snapshot: SnapshotCreator, wait_for_state: SnapshotWaiter, snapshot_name: str
) -> None:
    text = f"{TINY}# {snapshot_name}\n"
    first = create_snapshot(snapshot_name, text)
    assert first.state == "pending"
    wait_for_state(first.id)
    second = create_snapshot(f"{snapshot_name}-again", text)
    assert (second.state, second.ref) == ("active", first.ref)


def test_a_failed_build_gives_the_reason_and_keeps_its_name(
    stand_in: StandInClient,
    create_snapshot: SnapshotCreator,
    wait_for_state: SnapshotWaiter,
    snapshot_name: str,
) -> None:
    snapshot = wait_for_state(
        create_snapshot(
            snapshot_name, f"FROM debian:trixie-slim\nRUN echo {snapshot_name} && exit 7\n"
        ).id
    )
    assert snapshot.state == "error"
    assert "exit code: 7" in str(snapshot.error_reason)
    with pytest.raises(ApiException) as caught:
        create_snapshot(snapshot_name, TINY)
    assert status(caught) == 409
    # Its log is there, and does not end.
    url, headers = f"{stand_in.origin}/snapshots/{snapshot.id}/build-logs", stand_in.headers
    text = bytearray()
    with pytest.raises(httpx.ReadTimeout):
        follow(url, headers, text)
    assert snapshot_name.encode() in text
    assert b"ERROR: " in text
    assert httpx.get(url, headers=headers).text == text.decode()
    assert httpx.get(url).status_code == 401


def read_log(stand_in: StandInClient, identity: str) -> str:
    url = f"{stand_in.origin}/snapshots/{identity}/build-logs"
    return httpx.get(url, headers=stand_in.headers).text


def follow(url: str, headers: dict[str, str], into: bytearray) -> None:
    query = {"follow": "true"}
    with httpx.stream("GET", url, params=query, headers=headers, timeout=2.5) as log:
        for chunk in log.iter_raw():
            into.extend(chunk)


def test_an_identical_build_replays_the_older_log(
    stand_in: StandInClient,
    create_snapshot: SnapshotCreator,
    wait_for_state: SnapshotWaiter,
    snapshot_name: str,
) -> None:
    text = f"FROM debian:trixie-slim\nRUN echo {snapshot_name}; false\n"
    first, second = (
        wait_for_state(create_snapshot(f"{snapshot_name}-{number}", text).id) for number in (1, 2)
    )
    assert first.ref == second.ref
    log = read_log(stand_in, second.id)
    assert log.count("#4 ERROR") + log.count("ERROR: failed to solve") == 2


def test_a_missing_context_fails_the_build(
    create_snapshot: SnapshotCreator, wait_for_state: SnapshotWaiter, snapshot_name: str
) -> None:
    snapshot = wait_for_state(create_snapshot(snapshot_name, TINY, ("0" * 32,)).id)
    assert (snapshot.state, "does not exist" in str(snapshot.error_reason)) == ("error", True)


def test_an_interrupted_upload_is_listed_as_incomplete(
    stand_in: StandInClient, bucket: Bucket
) -> None:
    address = bucket.address("f" * 32)
    upload = bucket.client.create_multipart_upload(**address)["UploadId"]
    bucket.client.upload_part(**address, UploadId=upload, PartNumber=1, Body=b"x" * 1000)
    assert stand_in.state()["uploads"]["incomplete"][address["Key"]] == 1000
    bucket.client.abort_multipart_upload(**address, UploadId=upload)
    assert address["Key"] not in stand_in.state()["uploads"]["incomplete"]


def test_a_stranger_cannot_upload(stand_in: StandInClient, bucket: Bucket) -> None:
    url = f"{bucket.access.storage_url}/{bucket.access.bucket}/x"
    assert httpx.put(url, content=b"x").status_code == 403
    assert "x" not in stand_in.state()["uploads"]["objects"]


def test_a_pushed_image_becomes_a_snapshot(
    api_client: ApiClient,
    create_snapshot: SnapshotCreator,
    wait_for_state: SnapshotWaiter,
    snapshot_name: str,
) -> None:
    access = DockerRegistryApi(api_client).get_transient_push_access()
    image = f"{access.registry_url}/{access.project}/x:20260101"
    docker("tag", "debian:trixie-slim", image)
    try:
        docker("push", "--quiet", image)
    finally:
        docker("rmi", image)
    snapshot = wait_for_state(
        create_snapshot(snapshot_name, imageName=image, entrypoint=["sh", "-c", "sleep 9"]).id
    )
    assert snapshot.state == "active", snapshot.error_reason
    digest = pushed_digest(image)
    assert snapshot.ref == f"daytona-{digest.removeprefix('sha256:')}:daytona"
    assert snapshot.entrypoint == ["sh", "-c", "sleep 9"]
    twin = wait_for_state(
        create_snapshot(f"{snapshot_name}-2", imageName=f"{image.rpartition(':')[0]}@{digest}").id
    )
    assert twin.ref == snapshot.ref


def test_an_image_that_was_not_pushed_is_an_error(
    create_snapshot: SnapshotCreator, wait_for_state: SnapshotWaiter, snapshot_name: str
) -> None:
    snapshot = wait_for_state(create_snapshot(snapshot_name, imageName="nowhere.invalid/x:1").id)
    assert (snapshot.state, "manifest unknown" in str(snapshot.error_reason)) == ("error", True)


def pushed_digest(image: str) -> str:
    """What the registry itself says of `HOST/NAME:TAG`."""
    host, _, path = image.partition("/")
    name, _, tag = path.rpartition(":")
    accept = "application/vnd.docker.distribution.manifest.v2+json"
    url = f"http://{host}/v2/{name}/manifests/{tag}"
    response = httpx.head(url, headers={"Accept": accept}).raise_for_status()
    return response.headers["docker-content-digest"]


def docker(*args: str) -> None:
    subprocess.run(["docker", *args], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"name": "app-data:1", "dockerfile": TINY}, "must not contain"),
        ({"name": "a b", "dockerfile": TINY}, "Invalid snapshot name"),
        ({"name": "a"}, "Must specify"),
        ({"name": "a", "dockerfile": TINY, "imageName": "x:1"}, "Cannot specify both"),
        ({"name": "a", "dockerfile": TINY, "entrypoint": ["x"]}, "entrypoint"),
        ({"name": "a", "imageName": "x:latest"}, "latest"),
        ({"name": "a", "imageName": "x"}, "tag"),
    ],
)
def test_an_invalid_snapshot_is_refused(
    create_snapshot: SnapshotCreator, body: dict[str, Any], word: str
) -> None:
    with pytest.raises(ApiException, match=word) as caught:
        create_snapshot(**body)
    assert status(caught) == 400


def test_a_snapshot_over_the_quota_is_refused(
    create_snapshot: SnapshotCreator, snapshot_name: str
) -> None:
    with pytest.raises(ApiException, match="exceeds maximum") as caught:
        create_snapshot(snapshot_name, TINY, cpu=64)
    assert status(caught) == 403


def test_an_inactive_snapshot_is_activated(
    stand_in: StandInClient,
    sdk: Daytona,
    create_snapshot: SnapshotCreator,
    wait_for_state: SnapshotWaiter,
    snapshot_name: str,
) -> None:
    wait_for_state(create_snapshot(snapshot_name, TINY).id)
    with pytest.raises(ApiException, match="already active"):  # the SDK lets it through here
        sdk.snapshot.activate(sdk.snapshot.get(snapshot_name))
    stand_in.set_snapshot_state(snapshot_name, "inactive")
    sdk.snapshot.activate(sdk.snapshot.get(snapshot_name))
    assert wait_for_state(snapshot_name).state == "active"


def test_a_name_with_slashes_finds_but_does_not_delete(
    create_snapshot: SnapshotCreator, snapshots_api: SnapshotsApi, snapshot_name: str
) -> None:
    snapshot = create_snapshot(f"a/{snapshot_name}:1", TINY)
    assert snapshots_api.get_snapshot(f"a/{snapshot_name}:1").id == snapshot.id
    with pytest.raises(ApiException, match="uuid") as caught:
        snapshots_api.remove_snapshot(snapshot_name)
    assert status(caught) == 400


def test_pages_hold_every_snapshot_once(
    stand_in: StandInClient,
    create_snapshot: SnapshotCreator,
    snapshots_api: SnapshotsApi,
    snapshot_name: str,
) -> None:
    for number in range(3):
        create_snapshot(f"{snapshot_name}-{number}", TINY)
    total = len(stand_in.snapshots())
    first = snapshots_api.get_all_snapshots(page=1, limit=2)
    assert (len(first.items), first.total, first.total_pages) == (2, total, (total + 1) // 2)
    names = [i.name for p in range(first.total_pages) for i in page(snapshots_api, p + 1)]
    assert len(names) == len(set(names)) == total


def page(snapshots_api: SnapshotsApi, number: int) -> list[Any]:
    return list(snapshots_api.get_all_snapshots(page=number, limit=2).items)


def test_a_broken_build_raises_the_sdks_error(
    stand_in: StandInClient, sdk: Daytona, snapshot_name: str
) -> None:
    stand_in.inject("build-fails", on=snapshot_name)
    params = CreateSnapshotParams(name=snapshot_name, image=Image.base("debian:trixie-slim"))
    with pytest.raises(DaytonaError, match="did not complete successfully"):
        sdk.snapshot.create(params)
