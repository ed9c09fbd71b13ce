from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base import project, stages
from tasks.base.errors import BadInput
from tasks.daytona import content, naming, snapshot, states
from tasks.daytona.answers import JsonAnswer
from tasks.daytona.naming import SnapshotName
from tasks.daytona.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

IDENTITY = "0123456789abcdef" * 4
OTHER_IDENTITY = "f" * 64
#: As Daytona's server has it (snapshot.service.ts, v0.190.0).
SERVER = re.compile(r"^[a-zA-Z0-9_.\-:]+(\/[a-zA-Z0-9_.\-:]+)*(@sha256:[a-f0-9]{64})?$")


def a_snapshot(**fields: Any) -> Snapshot:
    defaults: dict[str, Any] = {
        "id": "1",
        "name": f"dev-x--20260116-230007-{IDENTITY[:12]}",
        "state": "active",
        "dockerfile": content.mark_dockerfile("FROM debian:trixie-slim\n", IDENTITY),
    }
    return Snapshot(**{**defaults, **fields})


# ── names ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            " ",
            "a b",
            "日本",
            "a//b",
            "a" * 300,
            "<b>",
            "https://x",
            "a/",
            "/a",
            "a\nb",
            "a\x00",
        ),
        *("a#b", "a+b", "a@b", "app-data:1", "hotel:2", "mailto:x", "javascript:x", "www.x"),
        *("a@sha256:123", "ünï", "a\n", "TEL:1", "a\u2028"),
    ],
)
def test_an_impossible_name_is_refused_offline(name: str) -> None:
    """N35."""
    with pytest.raises(BadInput) as caught:
        naming.check_name(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["a", "prd--20260116-230007", "feature/x", "A.b_c-d:e", f"a@sha256:{'0' * 64}", "a" * 255],
)
def test_a_possible_name_is_accepted(name: str) -> None:
    assert naming.check_name(name) == name


@pytest.mark.parametrize(
    "image", ["", "x", "x:latest", "r/x:latest", "x@sha256:12", "x y:1", "日:1"]
)
@pytest.mark.case("N36")
def test_an_image_that_daytona_refuses_is_refused_offline(
    image: str, show: Callable[[str, object], None]
) -> None:
    with pytest.raises(BadInput) as caught:
        naming.check_image(image)
    show(f"image {image!r}", caught.value)


@pytest.mark.parametrize("image", ["x:1", "127.0.0.1:5000/p/x:1", f"r:5/p/x@sha256:{'0' * 64}"])
def test_an_image_that_daytona_takes_is_accepted(image: str) -> None:
    assert naming.check_image(image) == image


def test_a_port_is_not_taken_for_a_tag() -> None:
    with pytest.raises(BadInput, match="has no tag"):
        naming.check_image("127.0.0.1:5000/x")


@given(
    stage=st.from_regex(r"(prd|stg|dev-[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?)", fullmatch=True).filter(
        lambda s: "--" not in s
    ),
    committed=st.integers(0, 4_000_000_000),
    identity=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    rebuild=st.just("") | st.from_regex(r"[0-9a-z]{1,12}", fullmatch=True),
)
def test_a_generated_name_is_valid_and_can_be_parsed(
    stage: str, committed: int, identity: str, rebuild: str
) -> None:
    name = naming.name_for(stage=stage, committed=committed, identity=identity, rebuild=rebuild)
    text = str(name)
    assert SERVER.match(text)
    assert naming.check_name(text) == text
    assert SnapshotName.parse(text) == name
    assert re.match(rf"{stage}--\d{{8}}-\d{{6}}-{identity[:12]}", text)


def test_the_time_in_a_name_is_in_utc() -> None:
    name = naming.name_for(stage="prd", committed=1768604407, identity=IDENTITY)
    assert str(name) == f"prd--20260116-230007-{IDENTITY[:12]}"


@pytest.mark.parametrize(
    "name", ["prd", "prd--20260116-230007", "prd--20260116-230007-xyz", "daytona-small", "a--b-c"]
)
def test_a_foreign_name_is_not_parsed(name: str) -> None:
    assert SnapshotName.parse(name) is None


@given(st.text(min_size=1).filter(str.strip))
def test_the_stage_of_any_branch_begins_a_valid_name(branch: str) -> None:
    stage = stages.stage_for_branch(branch)
    name = naming.name_for(stage=stage, committed=0, identity="0" * 64)
    assert naming.check_name(str(name)) == str(name)
    assert SnapshotName.parse(str(name)) == name


# ── content and ownership ───────────────────────────────────────────────────────────────────


def test_a_built_snapshot_shows_its_identity() -> None:
    assert content.identity_of(a_snapshot()) == IDENTITY
    forced = content.mark_dockerfile("FROM x:1", IDENTITY, rebuild="t0")
    assert content.identity_of(a_snapshot(dockerfile=forced)) == IDENTITY
    assert forced != content.mark_dockerfile("FROM x:1", IDENTITY)


@pytest.mark.parametrize(
    ("name", "rebuild"),
    [
        (f"{project.IMAGE}:{content.tag_of(IDENTITY)}", ""),
        (f"{project.IMAGE}:{content.tag_of(IDENTITY, rebuild='t0')}", "t0"),
        (f"{project.IMAGE}-{IDENTITY}", ""),  # as earlier versions named it
    ],
)
def test_a_pushed_snapshot_shows_its_identity(name: str, rebuild: str) -> None:
    image = f"127.0.0.1:5/daytona/{name}@sha256:{'0' * 64}"
    snapshot = a_snapshot(image=image, dockerfile="")
    assert content.identity_of(snapshot) == IDENTITY
    assert content.rebuild_of(snapshot) == rebuild
    assert content.is_ours(snapshot)
    assert naming.check_image(image) == image
    # Its own forced build is gone on with; another one does not take its place.
    steps = [
        states.next_step(snapshot, identity=IDENTITY, rebuild=requested_rebuild)
        for requested_rebuild in (rebuild, "t1")
    ]
    assert steps == ["reuse", "refuse"]


@pytest.mark.parametrize(
    "image",
    [
        f"r/p/{project.IMAGE}:{IDENTITY}",  # anybody may move a tag
        f"r/p/other:{IDENTITY}@sha256:{'0' * 64}",
        f"r/p/{project.IMAGE}x:{IDENTITY}@sha256:{'0' * 64}",
        f"r/p/{project.IMAGE}:{IDENTITY[:12]}@sha256:{'0' * 64}",
        f"r/p/{project.IMAGE}:v1@sha256:{'0' * 64}",
    ],
)
def test_an_image_of_somebody_else_has_no_identity(image: str) -> None:
    assert content.identity_of(a_snapshot(image=image, dockerfile="")) is None


def test_the_mark_does_not_change_the_dockerfile() -> None:
    text = 'FROM x:1\nENTRYPOINT ["/e"]'
    dockerfile = content.mark_dockerfile(text, IDENTITY)
    assert dockerfile.startswith(text + "\n")
    assert "ENTRYPOINT" not in dockerfile.removeprefix(text)


@pytest.mark.parametrize(
    "fields",
    [
        {"general": True},
        {"name": "something-else"},
        {"dockerfile": "FROM x:1"},
        {"dockerfile": content.mark_dockerfile("FROM x:1", OTHER_IDENTITY)},
        {"dockerfile": "", "image": "ubuntu:22.04"},
    ],
)
def test_a_name_alone_does_not_make_a_snapshot_ours(fields: dict[str, Any]) -> None:
    assert content.is_ours(a_snapshot())
    assert not content.is_ours(a_snapshot(**fields))


# ── the state machine ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("state", "step"),
    [
        ("active", "reuse"),
        ("inactive", "activate"),
        ("pending", "attach"),
        ("building", "attach"),
        ("pulling", "attach"),
        ("snapshotting", "attach"),
        ("error", "replace"),
        ("build_failed", "replace"),
        ("removing", "wait"),
        ("a_new_state", "wait"),
        ("unknown", "wait"),
    ],
)
def test_each_state_has_its_next_step(state: str, step: str) -> None:
    assert states.next_step(a_snapshot(state=state), identity=IDENTITY) == step


@pytest.mark.parametrize("state", sorted(snapshot.KNOWN_STATES - {"removing"}))
def test_another_content_is_never_touched(state: str) -> None:
    """F21: not reused, activated, waited for, and above all not deleted."""
    assert states.next_step(a_snapshot(state=state), identity=OTHER_IDENTITY) == "refuse"


def test_a_missing_snapshot_is_created() -> None:
    assert states.next_step(None, identity=IDENTITY) == "create"


def test_a_snapshot_is_read_from_a_reply_with_few_fields() -> None:
    """Server v0.190.0 leaves out fields that SDK 0.226.1 insists on."""
    minimal = Snapshot.from_answer(JsonAnswer({"id": "1", "name": "n"}, doing="asking"))
    assert (minimal.state, minimal.bytes, minimal.contexts) == ("unknown", None, ())
    fields = {"id": "1", "name": "n", "size": 1.5, "state": "new"}
    assert Snapshot.from_answer(JsonAnswer(fields, doing="asking")).state == "new"
