"""Whatever answers at DAYTONA_API_URL: one right line, no second try for what is permanent, and
never a word that holds the key.
"""

from __future__ import annotations

import contextlib
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.base.errors import TaskError
from tasks.base.retry import Policy, RemoteFailed
from tasks.daytona import masking, service
from tasks.daytona.answers import JsonAnswer, UnexpectedAnswer, parse
from tasks.daytona.api import Daytona
from tasks.daytona.credentials import Credentials
from tasks.daytona.sandbox_client import RemoteSandbox
from tasks.daytona.snapshot import Snapshot
from tests.support import loopback
from tests.support.loopback import Answer
from tests.unit.daytona.test_masking import FORMS, KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUICK = Policy(attempts=3, base=0.01, cap=0.02)
SNAPSHOT = Snapshot(id="1", name="n", state="active")
SANDBOX = RemoteSandbox(id="1", name="n", state="started")
PAGE = b"<!DOCTYPE html><html><title>Daytona</title>" + KEY.encode() + b"</html>"

#: Every question, by what it is about.
QUESTIONS: dict[str, Callable[[Daytona], object]] = {
    "find snapshot": lambda api: api.snapshots.find("n"),
    "list snapshots": lambda api: api.snapshots.list_all(),
    "create snapshot": lambda api: api.snapshots.create_from_contexts(
        "n", dockerfile="FROM x:1", contexts=[]
    ),
    "delete snapshot": lambda api: api.snapshots.delete(SNAPSHOT),
    "activate snapshot": lambda api: api.snapshots.activate(SNAPSHOT),
    "build log": lambda api: api.snapshots.build_log_url(SNAPSHOT),
    "storage access": lambda api: api.uploads.storage_access(),
    "registry access": lambda api: api.uploads.registry_access(),
    "create sandbox": lambda api: api.sandboxes.create(name="n", snapshot="s"),
    "find sandbox": lambda api: api.sandboxes.find("n"),
    "list sandboxes": lambda api: api.sandboxes.list_all(),
    "start sandbox": lambda api: api.sandboxes.start("1"),
    "stop sandbox": lambda api: api.sandboxes.stop("1"),
    "delete sandbox": lambda api: api.sandboxes.delete("1"),
    "preview": lambda api: api.sandboxes.preview("1", 3000),
    "execute": lambda api: api.sandboxes.execute(SANDBOX, "true", timeout=1),
    "console": lambda api: api.sandboxes.entrypoint_log(SANDBOX),
}
#: An empty success is all that these are answered with.
WITHOUT_ANSWER = {"delete snapshot", "activate snapshot", "build log", "start sandbox",
                  "stop sandbox", "delete sandbox"}  # fmt: skip


@contextmanager
def serving(answer: Answer) -> Iterator[tuple[Daytona, list[str]]]:
    """An API that always answers the same; and what it was asked."""
    requests: list[str] = []

    def reply(request: loopback.Request) -> Answer:
        requests.append(f"{request.method} {request.path}")
        return answer

    with loopback.answering(reply) as host:
        credentials = Credentials(api_key=KEY, api_url=f"http://{host}/api")
        api = Daytona(credentials, policy=QUICK)
        try:
            yield api, requests
        finally:
            api.close()


def check(error: TaskError) -> None:
    """It is one line that says what was asked and what to do, without the key."""
    assert "\n" not in str(error)
    assert error.fix
    assert KEY not in str(error)
    assert masking.mask(str(error), KEY) == str(error)


FOREIGN = {
    "null": b"null",
    "list": b"[1, 2]",
    "text": b'"hi"',
    "number": b"7",
    "not-json": b"hi",
    "page": PAGE,
    "cut": b'{"id": "1", ',
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("form", FOREIGN)
@pytest.mark.parametrize("question", [q for q in QUESTIONS if q != "console"])
def test_a_success_of_another_form_is_one_line_at_once(question: str, form: str) -> None:
    body = FOREIGN[form]
    with serving(Answer(body)) as (api, requests), pytest.raises(UnexpectedAnswer) as caught:
        QUESTIONS[question](api)
    assert len(requests) == 1
    assert (caught.value.kind, caught.value.exit_status) == ("rejected", 1)
    assert "DAYTONA_API_URL" in caught.value.fix
    check(caught.value)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"id": null}', b'{"error": 1}'])
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_success_without_its_fields_is_one_line_at_once(question: str, body: bytes) -> None:
    with serving(Answer(body)) as (api, requests):
        if question in WITHOUT_ANSWER:
            QUESTIONS[question](api)
            return
        with pytest.raises(UnexpectedAnswer, match="`") as caught:
            QUESTIONS[question](api)
    assert len(requests) == 1
    check(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"items": None},
        {"items": {}},
        {"items": "x"},
        {"items": [None]},
        {"items": [["id"]]},
        {"items": [{"id": 1, "name": "n"}]},
        {"items": [{"id": "1", "name": "n", "size": "large"}]},
        {"items": [{"id": "1", "name": "n", "buildInfo": []}]},
        {"items": [{"id": "1", "name": "n", "regionIds": [1]}]},
        {"items": [{"id": "1", "name": "n", "state": {}}]},
        {"items": [{"id": "1", "name": "n"}], "totalPages": "x"},
        {"items": [{"id": "1", "name": "n"}], "totalPages": 1.5},
        {"items": [{"id": "1", "name": "n"}], "totalPages": 1e400},
    ],
    ids=json.dumps,
)
def test_a_field_of_another_kind_is_named(fields: dict[str, Any]) -> None:
    answer = Answer(json.dumps(fields).encode())
    with serving(answer) as (api, _), pytest.raises(UnexpectedAnswer, match="`") as caught:
        api.snapshots.list_all()
    check(caught.value)


def test_push_access_is_asked_for_in_the_region() -> None:
    requests: list[str] = []

    def reply(request: loopback.Request) -> Answer:
        requests.append(request.path)
        fields = ("username", "secret", "registryUrl", "project")
        return Answer(json.dumps(dict.fromkeys(fields, "https://r.example/")).encode())

    with loopback.answering(reply) as host:
        credentials = Credentials(api_key=KEY, api_url=f"http://{host}/api", target="eu")
        with contextlib.closing(Daytona(credentials, policy=QUICK)) as api:
            assert api.uploads.registry_access().registry == "r.example"
    assert requests == ["/api/docker-registry/registry-push-access?regionId=eu"]


def test_lists_without_an_end_are_ended() -> None:
    """A page number or a cursor that never changes, or goes round."""
    with serving(Answer(b'{"items": [], "totalPages": 1000000}')) as (api, requests):
        assert api.snapshots.list_all() == []
        assert len(requests) == 1
    with serving(Answer(b'{"items": [], "nextCursor": "a"}')) as (api, requests):
        assert api.sandboxes.list_all() == []
        assert len(requests) == 2


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_a_login_is_one_line_at_once(question: str, status: int) -> None:
    """And the key does not go there."""
    seen: list[str] = []

    def log_in(request: loopback.Request) -> Answer:
        seen.append(request.path)
        return Answer(PAGE)

    with loopback.answering(log_in) as login:
        headers = {"Location": f"http://{login}/login?token={KEY}"}
        answer = Answer(PAGE, status=status, headers=headers)
        with serving(answer) as (api, requests), pytest.raises(RemoteFailed) as caught:
            QUESTIONS[question](api)
    assert len(requests) == 1
    assert seen == []
    assert caught.value.kind == "rejected"
    assert "redirect" in caught.value.what or "web page" in caught.value.what
    assert "DAYTONA_API_URL" in caught.value.fix
    check(caught.value)


def test_an_address_that_serves_pages_for_everything_is_named() -> None:
    """As the dashboard does for an address without /api: also with a 404."""
    for status in (200, 404):
        with serving(Answer(PAGE, status=status)) as (api, requests):
            with pytest.raises(UnexpectedAnswer, match="web page"):
                api.snapshots.find("n")
            assert len(requests) == 1


@pytest.mark.parametrize(
    ("question", "scope"),
    [
        ("create snapshot", "write:snapshots"),
        ("activate snapshot", "write:snapshots"),
        ("delete snapshot", "delete:snapshots"),
        ("registry access", "write:snapshots"),
        ("create sandbox", "write:sandboxes"),
        ("start sandbox", "write:sandboxes"),
        ("delete sandbox", "delete:sandboxes"),
        ("list snapshots", "write:snapshots"),
    ],
)
def test_a_missing_permission_is_named(question: str, scope: str) -> None:
    body = json.dumps({"statusCode": 403, "message": "Forbidden resource"}).encode()
    with serving(Answer(body, status=403)) as (api, requests):
        with pytest.raises(RemoteFailed) as caught:
            QUESTIONS[question](api)
        assert len(requests) == 1
    assert scope in caught.value.fix
    for name in ("write:snapshots", "delete:snapshots", "write:sandboxes", "delete:sandboxes"):
        assert name in caught.value.fix
    check(caught.value)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("Disk request 10GB exceeds maximum allowed per sandbox (5GB).\nNeed more?",
         ("--disk 5", "disk = 5")),
        ("Memory request 16GB exceeds maximum allowed per sandbox (8GB)", ("--memory 8",)),
        ("CPU request 8 exceeds maximum allowed per sandbox (4).", ("--cpu 4", "cpu = 4")),
        ("disk request 10 exceeds maximum allowed per sandbox", ("--disk",)),
        ("Snapshot quota exceeded. Maximum allowed: 30", ("gc",)),
        ("Total CPU limit exceeded. Maximum allowed: 10.", ("delete sandboxes", "limits")),
        ("Snapshot size (25.00GB) exceeds maximum allowed size of 20GB", ("smaller",)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [400, 403])
def test_a_limit_is_answered_with_what_changes_the_request(
    message: str, words: tuple[str, ...], status: int
) -> None:
    body = json.dumps({"statusCode": status, "message": message}).encode()
    answer = Answer(body, status=status)
    with serving(answer) as (api, _), pytest.raises(RemoteFailed) as caught:
        api.snapshots.create_from_contexts("n", dockerfile="FROM x:1", contexts=[])
    assert caught.value.kind == "quota"
    for word in words:
        assert word in caught.value.fix
    assert ("gc" in caught.value.fix) == ("gc" in words)
    check(caught.value)


@pytest.mark.parametrize("name", ["Retry-After", "Retry-After-authenticated"])
def test_a_long_wait_is_not_waited_for_but_told(name: str) -> None:
    body = b'{"statusCode": 429, "message": "ThrottlerException: Too Many Requests"}'
    with serving(Answer(body, status=429, headers={name: "3600"})) as (api, requests):
        with pytest.raises(RemoteFailed, match="wait 1h00m") as caught:
            api.snapshots.list_all()
        assert len(requests) == 1
    assert (caught.value.kind, caught.value.exit_status, caught.value.after) == ("rate", 75, 3600)


@pytest.mark.parametrize("status", [200, 400, 401, 403, 409, 422, 500])
@pytest.mark.parametrize("form", FORMS)
def test_an_answer_that_repeats_the_key_is_not_repeated(form: str, status: int) -> None:
    bodies = [
        json.dumps({"message": f"you sent {form}, which is wrong"}),
        json.dumps({"errors": [form]}),
        json.dumps({"error": form}),
        form,
        f"<html>{form}</html>",
        json.dumps([form]),
    ]
    for body in bodies:
        answer = Answer(body.encode(), status=status)
        with serving(answer) as (api, _), pytest.raises(RemoteFailed) as caught:
            api.snapshots.list_all()
        check(caught.value)
        assert form not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.dictionaries(
    st.sampled_from(["id", "name", "state", "size", "buildInfo", "entrypoint", "regionIds", "cpu",
                     "labels", "items", "totalPages", "general", "errorReason"]),
    JSON,
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(FIELDS)
def test_any_object_is_read_or_refused_in_one_line(fields: dict[str, Any]) -> None:
    problems: list[TaskError] = []
    for kind in (Snapshot, RemoteSandbox):
        try:
            kind.from_answer(JsonAnswer(fields, doing="asking"))
        except TaskError as error:
            problems.append(error)
    for problem in problems:
        assert isinstance(problem, UnexpectedAnswer)
        assert "\n" not in str(problem)


@given(st.binary())
def test_any_body_is_an_object_or_refused_in_one_line(body: bytes) -> None:
    problem = ""
    try:
        parse("asking", body)
    except UnexpectedAnswer as error:
        problem = str(error)
    assert "\n" not in problem


def test_a_limit_that_a_build_met_has_the_same_advice() -> None:
    reason = "Snapshot size (25.00GB) exceeds maximum allowed size of 20GB"
    assert "smaller" in service.advise_on_limit(reason)
    assert service.advise_on_limit("exit code: 1") == ""
