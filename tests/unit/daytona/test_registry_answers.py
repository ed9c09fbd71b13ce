"""Whatever a registry answers, the push ends in one line that repeats no secret."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Final

import pytest

from tasks.base.errors import TaskError
from tasks.base.retry import Policy
from tasks.daytona.registry import push
from tasks.daytona.registry.client import PushTarget
from tasks.daytona.registry.layers import CONFIG_TYPE, ImageBlob
from tests.support import loopback
from tests.support.loopback import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECRET: Final = "robot-" + "password-of-many-words"
ENCODED: Final = base64.b64encode(f"robot:{SECRET}".encode()).decode()
QUICK: Final = Policy(attempts=2, base=0.01, cap=0.02)
BODIES: Final = {
    "empty": b"",
    "page": f"<html>{SECRET} {ENCODED}</html>".encode(),
    "null": b"null",
    "list": b"[1, 2]",
    "text": f'"{SECRET}"'.encode(),
    "binary": bytes(range(256)),
    "deep": b"[" * 100_000,
    "errors of another kind": b'{"errors": "x"}',
    "errors without words": b'{"errors": [{}, null]}',
    "an error": json.dumps({"errors": [{"message": f"no, {ENCODED} {SECRET}\nx"}]}).encode(),
}


def push_to(answer: Callable[[Request], Answer], folder: Path) -> TaskError:
    """How the push of an image to such a registry fails."""
    path = folder / "config"
    path.write_bytes(b"x" * 100)
    config = ImageBlob(digest="sha256:" + "0" * 64, bytes=100, path=path, media_type=CONFIG_TYPE)
    with loopback.answering(answer) as host:
        target = PushTarget(registry=host, repository="p/r", username="robot", secret=SECRET)
        with pytest.raises(TaskError) as caught:
            push.send(config, [], target, tag="t", policy=QUICK, notes=folder / "notes")
    return caught.value


def check(error: TaskError) -> None:
    text = f"{error} {error.fix}"
    assert "\n" not in text
    assert len(text) < 700
    assert error.fix
    assert SECRET not in text
    assert ENCODED[:20] not in text


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("status", [200, 201, 202, 204, 302, 400, 401, 403, 404, 413, 501, 503])
def test_any_answer_is_one_line_without_the_password(
    tmp_path: Path, status: int, body: bytes
) -> None:
    requests: list[str] = []

    def reply(request: Request) -> Answer:
        requests.append(request.method)
        return Answer(b"" if request.method == "HEAD" or status == 204 else body, status=status)

    error = push_to(reply, tmp_path)
    check(error)
    if status == 501:
        assert len(requests) == 1, "the next try gets the same answer"


@pytest.mark.parametrize(
    "token", [None, "", 5, ["t"], {"t": 1}, "a\nb", "a b", "tökén", "\x00"], ids=repr
)
def test_a_login_without_a_usable_token_is_one_line(tmp_path: Path, token: object) -> None:

    def reply(request: Request) -> Answer:
        if request.path.startswith("/token"):
            return Answer(json.dumps({"token": token}).encode())
        realm = f"http://{request.headers['Host']}/token"
        return Answer(status=401, headers={"WWW-Authenticate": f'Bearer realm="{realm}"'})

    error = push_to(reply, tmp_path)
    check(error)
    assert "token" in str(error)


@pytest.mark.parametrize("address", ["http://elsewhere.example/x", "//elsewhere.example/x"])
def test_an_upload_that_is_sent_elsewhere_gets_no_credentials(tmp_path: Path, address: str) -> None:
    def reply(request: Request) -> Answer:
        if request.method == "HEAD":
            return Answer(status=404)
        return Answer(status=202, headers={"Location": address})

    error = push_to(reply, tmp_path)
    check(error)
    assert "another host" in str(error)
