"""Daytona's API, its registry and its storage on a machine that reaches nothing but a company's
proxy: the proxy wants a password and shows certificates of a private authority.
"""

from __future__ import annotations

import base64
import contextlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest

from tasks.base.retry import Policy, RemoteFailed
from tasks.build.archive import Part
from tasks.daytona.api import Daytona
from tasks.daytona.credentials import Credentials
from tasks.daytona.registry import push
from tasks.daytona.registry.client import PushTarget
from tasks.daytona.registry.layers import CONFIG_TYPE, ImageBlob
from tasks.daytona.storage.client import ContextStorage
from tasks.daytona.upload_client import StorageAccess
from tests.support import forward_proxy
from tests.support.loopback import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.forward_proxy import Network

HOST: Final = "registry.example"
PASSWORD: Final = "robot-" + "password"
QUICK: Final = Policy(attempts=3, base=0.01, cap=0.02)


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with forward_proxy.network(tmp_path) as company:
        for name, value in company.environment.items():
            monkeypatch.setenv(name, value)
        yield company


def test_daytona_is_asked_through_the_proxy(network: Network) -> None:
    page = {"items": [], "total": 0, "page": 1, "totalPages": 1}
    network.serve("daytona.example", lambda _: Answer(json.dumps(page).encode()))
    credentials = Credentials(api_key="dtn_x", api_url="https://daytona.example/api")
    with contextlib.closing(Daytona(credentials, policy=QUICK)) as api:
        assert api.snapshots.list_all() == []
    [request] = network.requests_to("daytona.example")
    assert request.headers["Authorization"] == "Bearer dtn_x"


def test_the_storage_is_asked_through_the_proxy(network: Network, tmp_path: Path) -> None:
    network.serve("s3.example", lambda _: Answer(b"", headers={"Content-Length": "0"}))
    access = StorageAccess(
        access_key="k", secret="s", session_token="t", url="https://s3.example",
        organization="o", bucket="b", region="us-east-1",
    )  # fmt: skip
    storage = ContextStorage(lambda: access, policy=QUICK)
    assert storage.has(Part("d" * 64, tmp_path / "part", 0, "made up"))
    assert [request.method for request in network.requests_to("s3.example")] == ["HEAD"]


@dataclass
class TokenRegistry:
    """A registry that wants tokens, as Harbor does; each token holds for `lifetime` requests."""

    lifetime: int
    accepts_password: bool = True
    logins: int = 0
    names: list[str] = field(default_factory=list)
    _uses: int = 0

    def answer(self, request: Request) -> Answer:
        credentials = request.headers.get("Authorization", "")
        if request.path.startswith("/token?"):
            return self._log_in(credentials)
        self._uses += 1
        if credentials != f"Bearer token-{self.logins}" or self._uses > self.lifetime:
            challenge = f'Bearer realm="https://{HOST}/token",service="s",scope="push"'
            return Answer(status=401, headers={"WWW-Authenticate": challenge})
        if request.method == "PUT":
            self.names.append(request.path)
            return Answer(status=201)
        location = {"Location": f"/v2/p/r/blobs/uploads/{self._uses}"}
        statuses = {"HEAD": 404, "POST": 202, "PATCH": 202, "DELETE": 204}
        return Answer(status=statuses[request.method], headers=location)

    def _log_in(self, credentials: str) -> Answer:
        pair = base64.b64encode(f"robot:{PASSWORD}".encode()).decode()
        assert credentials == f"Basic {pair}"
        if not self.accepts_password:
            return Answer(status=401)
        self.logins += 1
        self._uses = 0
        return Answer(json.dumps({"token": f"token-{self.logins}"}).encode())


def push_image(folder: Path) -> push.ImagePush:
    blobs = []
    for number, media_type in enumerate(("layer", CONFIG_TYPE)):
        path = folder / str(number)
        path.write_bytes(b"x" * 1000)
        digest = f"sha256:{number:064}"
        blobs.append(ImageBlob(digest=digest, bytes=1000, path=path, media_type=media_type))
    target = PushTarget(registry=HOST, repository="p/r", username="robot", secret=PASSWORD)
    return push.send(blobs[1], blobs[:1], target, tag="t", policy=QUICK, notes=folder / "notes")


@pytest.mark.parametrize("lifetime", [1, 2, 3, 100])
def test_a_push_goes_on_when_its_token_has_expired(
    network: Network, tmp_path: Path, lifetime: int, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = TokenRegistry(lifetime)
    network.serve(HOST, registry.answer)
    assert push_image(tmp_path).report.bytes_sent == 2000
    assert registry.names[-1] == "/v2/p/r/manifests/t"
    assert len(registry.names) == 3
    # One login at first, then one whenever the token holds no more.
    assert registry.logins == -(-9 // lifetime)
    output = "".join(capsys.readouterr())
    assert PASSWORD not in output
    assert "token-" not in output


def test_a_refused_login_is_one_line_without_the_password(network: Network, tmp_path: Path) -> None:
    registry = TokenRegistry(100, accepts_password=False)
    network.serve(HOST, registry.answer)
    with pytest.raises(RemoteFailed) as caught:
        push_image(tmp_path)
    assert (caught.value.kind, caught.value.exit_status) == ("auth", 1)
    assert PASSWORD not in str(caught.value)
    assert "\n" not in str(caught.value)
