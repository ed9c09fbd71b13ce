from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base.errors import BadInput
from tasks.daytona import snapshot
from tasks.daytona.snapshot import Name, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

IDENTITY = "0123456789abcdef" * 4
OTHER = "f" * 64
#: As Daytona's server has it (snapshot.service.ts, v0.190.0).
SERVER = re.compile(r"^[a-zA-Z0-9_.\-:]+(\/[a-zA-Z0-9_.\-:]+)*(@sha256:[a-f0-9]{64})?$")


def a_snapshot(**fields: Any) -> Snapshot:
    given: dict[str, Any] = {
        "id": "1",
        "name": f"dev-x--20260116-230007-{IDENTITY[:12]}",
        "state": "active",
        "dockerfile": snapshot.marked("FROM debian:trixie-slim\n", IDENTITY),
    }
    return Snapshot(**{**given, **fields})


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
def test_what_cannot_be_a_name_is_refused_offline(name: str) -> None:
    """N35."""
    with pytest.raises(BadInput) as caught:
        snapshot.check_name(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["a", "prd--20260116-230007", "feature/x", "A.b_c-d:e", f"a@sha256:{'0' * 64}", "a" * 255],
)
def test_what_can_be_a_name_is_taken(name: str) -> None:
    assert snapshot.check_name(name) == name


@pytest.mark.parametrize(
    "image", ["", "x", "x:latest", "r/x:latest", "x@sha256:12", "x y:1", "日:1"]
)
@pytest.mark.case("N36")
def test_images_that_daytona_refuses(image: str, show: Callable[[str, object], None]) -> None:
    with pytest.raises(BadInput) as caught:
        snapshot.check_image(image)
    show(f"image {image!r}", caught.value)


@pytest.mark.parametrize("image", ["x:1", "127.0.0.1:5000/p/x:1", f"r:5/p/x@sha256:{'0' * 64}"])
def test_images_that_daytona_takes(image: str) -> None:
    assert snapshot.check_image(image) == image


def test_a_port_is_no_tag() -> None:
    with pytest.raises(BadInput, match="has no tag"):
        snapshot.check_image("127.0.0.1:5000/x")


@given(
    stage=st.from_regex(r"(prd|stg|dev-[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?)", fullmatch=True).filter(
        lambda s: "--" not in s
    ),
    committed=st.integers(0, 4_000_000_000),
    identity=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    rebuild=st.just("") | st.from_regex(r"[0-9a-z]{1,12}", fullmatch=True),
)
def test_every_name_we_give_is_valid_and_can_be_read(
    stage: str, committed: int, identity: str, rebuild: str
) -> None:
    name = snapshot.name_for(stage=stage, committed=committed, identity=identity, rebuild=rebuild)
    text = str(name)
    assert SERVER.match(text)
    assert snapshot.check_name(text) == text
    assert Name.parse(text) == name
    assert re.match(rf"{stage}--\d{{8}}-\d{{6}}-{identity[:12]}", text)


def test_the_time_in_a_name_is_utc() -> None:
    name = snapshot.name_for(stage="prd", committed=1768604407, identity=IDENTITY)
    assert str(name) == f"prd--20260116-230007-{IDENTITY[:12]}"


@pytest.mark.parametrize(
    "name", ["prd", "prd--20260116-230007", "prd--20260116-230007-xyz", "daytona-small", "a--b-c"]
)
def test_others_names_are_not_ours(name: str) -> None:
    assert Name.parse(name) is None


# ── stages ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stage", ["prd", "stg", "dev-a", "dev-ann.b-2"])
def test_stages(stage: str) -> None:
    assert snapshot.check_stage(stage) == stage


@pytest.mark.parametrize(
    "stage", ["", "prod", "dev-", "dev", "dev-A", "dev--a", "prd ", "dev-a/b", "dev-é", "dev-a--b"]
)
def test_what_is_no_stage(stage: str) -> None:
    with pytest.raises(BadInput):
        snapshot.check_stage(stage)


def test_the_stage_comes_from_the_flag_then_the_environment() -> None:
    environment = {"APP_STAGE": "stg", "ITERATE_USER": "Ann B."}
    assert snapshot.stage_from("prd", environment) == "prd"
    assert snapshot.stage_from(None, environment) == "stg"
    assert snapshot.stage_from(None, {**environment, "APP_STAGE": " "}) == "dev-ann-b"
    with pytest.raises(BadInput, match="ITERATE_USER"):
        snapshot.stage_from(None, {"ITERATE_USER": "日本"})
    with pytest.raises(BadInput):
        snapshot.stage_from("", environment)


# ── content and ownership ───────────────────────────────────────────────────────────────────


def test_what_was_built_says_its_identity() -> None:
    assert snapshot.identity_of(a_snapshot()) == IDENTITY
    forced = snapshot.marked("FROM x:1", IDENTITY, rebuild="t0")
    assert snapshot.identity_of(a_snapshot(dockerfile=forced)) == IDENTITY
    assert forced != snapshot.marked("FROM x:1", IDENTITY)


def test_what_was_pushed_says_its_identity() -> None:
    image = f"127.0.0.1:5/daytona/{snapshot.repository_for(IDENTITY)}@sha256:{'0' * 64}"
    assert snapshot.identity_of(a_snapshot(image=image, dockerfile="")) == IDENTITY
    snapshot.check_image(image)


def test_the_mark_does_not_touch_the_dockerfile() -> None:
    text = 'FROM x:1\nENTRYPOINT ["/e"]'
    marked = snapshot.marked(text, IDENTITY)
    assert marked.startswith(text + "\n")
    assert "ENTRYPOINT" not in marked.removeprefix(text)


@pytest.mark.parametrize(
    "fields",
    [
        {"general": True},
        {"name": "something-else"},
        {"dockerfile": "FROM x:1"},
        {"dockerfile": snapshot.marked("FROM x:1", OTHER)},
        {"dockerfile": "", "image": "ubuntu:22.04"},
    ],
)
def test_a_name_alone_makes_nothing_ours(fields: dict[str, Any]) -> None:
    assert snapshot.is_ours(a_snapshot())
    assert not snapshot.is_ours(a_snapshot(**fields))


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
def test_every_state_has_its_step(state: str, step: str) -> None:
    assert snapshot.next_step(a_snapshot(state=state), identity=IDENTITY) == step


@pytest.mark.parametrize("state", sorted(snapshot.KNOWN - {"removing"}))
def test_another_content_is_never_touched(state: str) -> None:
    """F21: not reused, activated, waited for, and above all not deleted."""
    assert snapshot.next_step(a_snapshot(state=state), identity=OTHER) == "refuse"


def test_what_is_not_there_is_made() -> None:
    assert snapshot.next_step(None, identity=IDENTITY) == "create"


def test_replies_are_read_with_what_cannot_be_missing_alone() -> None:
    """Server v0.190.0 leaves out fields that SDK 0.226.1 insists on."""
    read = Snapshot.read({"id": "1", "name": "n"})
    assert (read.state, read.bytes, read.contexts) == ("unknown", None, ())
    assert Snapshot.read({"id": "1", "name": "n", "size": 1.5, "state": "new"}).state == "new"
