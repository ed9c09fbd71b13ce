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

from tests.standin.conftest import archive

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from daytona import Daytona
    from daytona_api_client import ApiClient, SnapshotDto, SnapshotsApi

    from tasks.standin import StandIn
    from tests.standin.conftest import Bucket

    Create = Callable[..., SnapshotDto]

TINY = 'FROM debian:trixie-slim\nENTRYPOINT ["sleep", "infinity"]\n'


def status(error: pytest.ExceptionInfo[ApiException]) -> int:
    return int(error.value.status)


def test_the_sdk_builds_one(s: StandIn, sdk: Daytona, name: str, tmp_path: Path) -> None:
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(f"FROM debian:trixie-slim\nRUN echo built of {name}; sleep 1\n")
    said: list[str] = []
    params = CreateSnapshotParams(name=name, image=Image.from_dockerfile(str(dockerfile)))
    snapshot = sdk.snapshot.create(params, on_logs=said.append)
    assert snapshot.state == "active"
    assert snapshot.entrypoint == ["sleep", "infinity"]
    assert f"built of {name}" in "\n".join(said)
    assert sdk.snapshot.get(name).id == snapshot.id
    assert name in [item.name for item in sdk.snapshot.list().items]
    with pytest.raises(DaytonaConflictError, match="already exists"):
        sdk.snapshot.create(params)
    sdk.snapshot.delete(snapshot)
    # The name stays taken for a while.
    with pytest.raises(DaytonaConflictError):
        sdk.snapshot.create(params)
    deadline = time.monotonic() + 10
    while name in s.state()["snapshots"] and time.monotonic() < deadline:
        time.sleep(0.1)
    with pytest.raises(DaytonaNotFoundError):
        sdk.snapshot.get(name)


def test_the_sdks_own_upload(
    s: StandIn, sdk: Daytona, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It refuses plain HTTP, so this test alone tells its store otherwise."""
    from daytona._sync import object_storage

    def store(*args: Any, **options: Any) -> Any:
        options["client_options"] = {**(options.get("client_options") or {}), "allow_http": True}
        return S3Store(*args, **options)

    monkeypatch.setattr(object_storage, "S3Store", store)
    (tmp_path / "file").write_bytes(b"x" * (11 << 20))
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(f"FROM debian:trixie-slim\nCOPY file /{name}\n")
    before = s.state()["uploads"]
    params = CreateSnapshotParams(name=name, image=Image.from_dockerfile(str(dockerfile)))
    assert sdk.snapshot.create(params).state == "active"
    after = s.state()["uploads"]
    assert after["puts"] - before["puts"] == 3
    assert len(after["objects"]) - len(before["objects"]) == 1


def test_a_context_is_flattened_and_its_dockerfile_wins(
    bucket: Bucket, create: Create, settled: Create, name: str, s: StandIn
) -> None:
    inner = b"FROM debian:trixie-slim\nCOPY . /c\nRUN echo this is the inner one\n"
    digest = bucket.upload(archive({"Dockerfile": inner, "a/b": b"x"}))
    made = create(name, 'FROM nowhere:1\nENTRYPOINT ["/of", "the outer"]\n', (digest,))
    assert settled(made.id).state == "active"
    assert made.entrypoint == ["/of", "the outer"]
    assert "this is the inner one" in s.runner.log(made.ref or "").read_text()


def test_equal_content_is_active_at_once(create: Create, settled: Create, name: str) -> None:
    text = f"{TINY}# {name}\n"
    first = create(name, text)
    assert first.state == "pending"
    settled(first.id)
    second = create(f"{name}-again", text)
    assert (second.state, second.ref) == ("active", first.ref)


def test_a_failed_build_says_why_and_keeps_its_name(
    s: StandIn, create: Create, settled: Create, name: str
) -> None:
    made = create(name, f"FROM debian:trixie-slim\nRUN echo {name} && exit 7\n")
    failed = settled(made.id)
    assert failed.state == "error"
    assert "exit code: 7" in str(failed.error_reason)
    with pytest.raises(ApiException) as refused:
        create(name, TINY)
    assert status(refused) == 409
    # Its log is there, and does not end.
    url, headers = f"{s.origin}/snapshots/{made.id}/build-logs", bearer(s)
    text = bytearray()
    with pytest.raises(httpx.ReadTimeout):
        follow(url, headers, text)
    assert name.encode() in text
    assert b"ERROR: " in text
    assert httpx.get(url, headers=headers).text == text.decode()
    assert httpx.get(url).status_code == 401


def follow(url: str, headers: dict[str, str], into: bytearray) -> None:
    query = {"follow": "true"}
    with httpx.stream("GET", url, params=query, headers=headers, timeout=2.5) as log:
        for chunk in log.iter_raw():
            into.extend(chunk)


def bearer(s: StandIn) -> dict[str, str]:
    return {"Authorization": f"Bearer {s.key}"}


def test_an_identical_build_replays_the_older_log(
    s: StandIn, sdk: Daytona, create: Create, settled: Create, name: str
) -> None:
    text = f"FROM debian:trixie-slim\nRUN echo {name}; false\n"
    refs = []
    for number in (1, 2):
        made = settled(create(f"{name}-{number}", text).id)
        refs.append(made.ref)
    log = s.runner.log(refs[0] or "").read_text()
    assert refs[0] == refs[1]
    assert log.count("#4 ERROR") + log.count("ERROR: failed to solve") == 2
    del sdk


def test_a_missing_context_fails_the_build(create: Create, settled: Create, name: str) -> None:
    made = settled(create(name, TINY, ("0" * 32,)).id)
    assert (made.state, "does not exist" in str(made.error_reason)) == ("error", True)


def test_an_interrupted_upload_is_seen(s: StandIn, bucket: Bucket) -> None:
    at = {"Bucket": bucket.access.bucket, "Key": bucket.key("f" * 32)}
    upload = bucket.client.create_multipart_upload(**at)["UploadId"]
    bucket.client.upload_part(**at, UploadId=upload, PartNumber=1, Body=b"x" * 1000)
    assert s.state()["uploads"]["incomplete"][at["Key"]] == 1000
    bucket.client.abort_multipart_upload(**at, UploadId=upload)
    assert at["Key"] not in s.state()["uploads"]["incomplete"]


def test_strangers_cannot_upload(s: StandIn, bucket: Bucket) -> None:
    url = f"{bucket.access.storage_url}/{bucket.access.bucket}/x"
    assert httpx.put(url, content=b"x").status_code == 403
    assert "x" not in s.state()["uploads"]["objects"]


def test_a_pushed_image(
    client: ApiClient, create: Create, settled: Create, name: str, s: StandIn
) -> None:
    access = DockerRegistryApi(client).get_transient_push_access()
    image = f"{access.registry_url}/{access.project}/x:20260101"
    docker("tag", "debian:trixie-slim", image)
    try:
        docker("push", "--quiet", image)
    finally:
        docker("rmi", image)
    made = settled(create(name, imageName=image, entrypoint=["sh", "-c", "sleep 9"]).id)
    assert made.state == "active", made.error_reason
    found = s.registry.find(image)
    assert found is not None
    assert made.ref == f"daytona-{found.digest.removeprefix('sha256:')}:daytona"
    assert made.entrypoint == ["sh", "-c", "sleep 9"]
    again = settled(create(f"{name}-2", imageName=found.image).id)
    assert again.ref == made.ref


def test_an_image_that_nobody_pushed(create: Create, settled: Create, name: str) -> None:
    made = settled(create(name, imageName="nowhere.invalid/x:1").id)
    assert (made.state, "manifest unknown" in str(made.error_reason)) == ("error", True)


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
def test_what_is_refused(create: Create, body: dict[str, Any], word: str) -> None:
    with pytest.raises(ApiException, match=word) as refused:
        create(**body)
    assert status(refused) == 400


def test_more_than_an_organization_may_have(create: Create, name: str) -> None:
    with pytest.raises(ApiException, match="exceeds maximum") as refused:
        create(name, TINY, cpu=64)
    assert status(refused) == 403


def test_inactive_and_active_again(
    s: StandIn, sdk: Daytona, create: Create, settled: Create, name: str
) -> None:
    settled(create(name, TINY).id)
    with pytest.raises(ApiException, match="already active"):  # the SDK lets it through here
        sdk.snapshot.activate(sdk.snapshot.get(name))
    s.set_snapshot_state(name, "inactive")
    sdk.snapshot.activate(sdk.snapshot.get(name))
    assert settled(name).state == "active"


def test_names_with_slashes_are_found_and_names_do_not_delete(
    create: Create, snapshots: SnapshotsApi, name: str
) -> None:
    made = create(f"a/{name}:1", TINY)
    assert snapshots.get_snapshot(f"a/{name}:1").id == made.id
    with pytest.raises(ApiException, match="uuid") as refused:
        snapshots.remove_snapshot(name)
    assert status(refused) == 400


def test_pages(s: StandIn, create: Create, snapshots: SnapshotsApi, name: str) -> None:
    for number in range(3):
        create(f"{name}-{number}", TINY)
    total = len(s.store.snapshots)
    first = snapshots.get_all_snapshots(page=1, limit=2)
    assert (len(first.items), first.total, first.total_pages) == (2, total, (total + 1) // 2)
    seen = [i.name for p in range(first.total_pages) for i in page(snapshots, p + 1)]
    assert len(seen) == len(set(seen)) == total


def page(snapshots: SnapshotsApi, number: int) -> list[Any]:
    return list(snapshots.get_all_snapshots(page=number, limit=2).items)


def test_the_sdks_error_for_a_broken_build(s: StandIn, sdk: Daytona, name: str) -> None:
    s.fault("build-fails", on=name)
    params = CreateSnapshotParams(name=name, image=Image.base("debian:trixie-slim"))
    with pytest.raises(DaytonaError, match="did not complete successfully"):
        sdk.snapshot.create(params)
