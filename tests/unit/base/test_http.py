"""The seam of all HTTP: proxies, certificates, redirects, bounds and what failures mean."""

from __future__ import annotations

import gzip
import socket
from typing import TYPE_CHECKING

import pytest

from tasks.base.errors import BadInput
from tasks.base.http import Client, Limits, Service
from tasks.base.proxies import parse_proxy
from tasks.base.retry import RemoteFailed
from tasks.base.transport import Tls
from tests.support import forward_proxy, loopback
from tests.support.loopback import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.forward_proxy import Network

SERVICE = Service(
    name="the shop",
    advice={"network": "check the line", "rejected": "ask the shop", "scope": "get a permission"},
    redirect_advice="check the address",
)
SECRET = "sk-a-secret-of-the-shop"
HEADERS = {"Authorization": f"Bearer {SECRET}"}


def client(**environment: str) -> Client:
    return Client(SERVICE, environment=environment, limits=Limits(connect=5, idle=5, total=10))


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    with forward_proxy.network(tmp_path) as company:
        yield company


# ── replies ─────────────────────────────────────────────────────────────────────────────────


def test_a_reply_of_any_status_is_returned() -> None:
    def answer(request: Request) -> Answer:
        return Answer(request.method.encode() + request.body, 418, {"X-Tea": "green"})

    with loopback.answering(answer) as host:
        response = client().send("PUT", f"http://{host}/pot", doing="brewing", body=b"!")
    assert (response.status, response.body, response.headers["x-tea"]) == (418, b"PUT!", "green")


def test_a_compressed_body_is_uncompressed() -> None:
    body = gzip.compress(b"tea" * 1000)
    with loopback.answering(lambda _: Answer(body, headers={"Content-Encoding": "gzip"})) as host:
        assert client().send("GET", f"http://{host}", doing="brewing").body == b"tea" * 1000


@pytest.mark.parametrize("compressed", [False, True])
def test_a_body_that_is_too_large_is_refused(*, compressed: bool) -> None:
    body = b"x" * 3_000_000
    headers = {"Content-Encoding": "gzip"} if compressed else {}
    reply = Answer(gzip.compress(body) if compressed else body, headers=headers)
    with (
        loopback.answering(lambda _: reply) as host,
        pytest.raises(RemoteFailed, match=r"sends more than 1\.0 MB") as caught,
    ):
        client().send("GET", f"http://{host}", doing="brewing", limits=Limits(size=1_000_000))
    assert (caught.value.kind, caught.value.fix) == ("rejected", "ask the shop")


def test_a_body_that_ends_early_is_no_reply() -> None:
    with (
        loopback.answering(lambda _: Answer(b"half", length=100)) as host,
        pytest.raises(RemoteFailed, match="brewing: no reply from the shop") as caught,
    ):
        client().send("GET", f"http://{host}", doing="brewing")
    assert (caught.value.kind, caught.value.fix) == ("network", "check the line")


def test_a_service_gives_the_advice_for_a_status() -> None:
    with loopback.answering(lambda _: Answer(b"no tea for you", 403)) as host:
        response = client().send("GET", f"http://{host}", doing="brewing")
    error = SERVICE.failure("brewing", response)
    assert str(error) == "brewing: 403 no tea for you (scope) → get a permission"


def test_a_dead_address_is_no_reply() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(RemoteFailed, match="no reply from the shop: Connection refused") as caught:
        client().send("GET", f"http://127.0.0.1:{port}", doing="brewing")
    assert caught.value.exit_status == 75


# ── redirects ───────────────────────────────────────────────────────────────────────────────


def test_redirects_within_the_host_are_followed() -> None:
    def answer(request: Request) -> Answer:
        if request.path == "/pot":
            return Answer(b"tea", headers={"X-Seen": request.headers["Authorization"]})
        return Answer(status=302, headers={"Location": "/pot"})

    with loopback.answering(answer) as host:
        response = client().send(
            "GET", f"http://{host}/cup", doing="brewing", headers=HEADERS, redirects=1
        )
        assert (response.body, response.headers["X-Seen"]) == (b"tea", f"Bearer {SECRET}")
        unfollowed = client().send("GET", f"http://{host}/cup", doing="brewing", headers=HEADERS)
        assert unfollowed.status == 302


def test_redirects_in_circles_end() -> None:
    with (
        loopback.answering(lambda _: Answer(status=302, headers={"Location": "/"})) as host,
        pytest.raises(RemoteFailed, match="the shop redirects in circles") as caught,
    ):
        client().send("GET", f"http://{host}/", doing="brewing", redirects=3)
    assert (caught.value.kind, caught.value.fix) == ("rejected", "check the address")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("scheme", ["http", "//", "user@"])
def test_no_secret_crosses_a_redirect_to_another_host(status: int, scheme: str) -> None:
    stolen: list[Request] = []

    def thief(request: Request) -> Answer:
        stolen.append(request)
        return Answer(b"thank you")

    with loopback.answering(thief) as address:
        name = address.replace("127.0.0.1", "localhost")
        places = {"http": f"http://{name}/", "//": f"//{name}/", "user@": f"http://u@{name}/"}
        reply = Answer(status=status, headers={"Location": places[scheme]})
        with (
            loopback.answering(lambda _: reply) as host,
            pytest.raises(RemoteFailed, match="redirects to another place, localhost") as caught,
        ):
            client().send("GET", f"http://{host}/", doing="brewing", headers=HEADERS, redirects=3)
    assert not stolen
    assert caught.value.kind == "rejected"


def test_no_secret_crosses_a_redirect_from_https_to_http(network: Network) -> None:
    location = {"Location": "http://shop.example/"}
    network.serve("shop.example", lambda _: Answer(status=302, headers=location))
    with pytest.raises(RemoteFailed, match="redirects to another place"):
        client(**network.environment, HTTP_PROXY=f"http://{network.proxy}").send(
            "GET", "https://shop.example/", doing="brewing", headers=HEADERS, redirects=3
        )
    assert len(network.requests_to("shop.example")) == 1


def test_a_redirected_post_is_not_sent_again() -> None:
    requests: list[Request] = []

    def answer(request: Request) -> Answer:
        requests.append(request)
        return Answer(status=307, headers={"Location": "/again"})

    with loopback.answering(answer) as host:
        response = client().send("POST", f"http://{host}/", doing="brewing", body=b"x", redirects=3)
    assert response.status == 307
    assert len(requests) == 1


# ── proxies and certificates ────────────────────────────────────────────────────────────────


def test_a_proxy_gets_its_credentials_and_the_server_does_not(network: Network) -> None:
    network.serve("shop.example", lambda _: Answer(b"tea"))
    response = client(**network.environment).send(
        "GET", "https://shop.example/", doing="brewing", headers=HEADERS
    )
    assert response.body == b"tea"
    assert network.tunnels == ["shop.example:443"]
    assert network.refusals == 0
    [request] = network.requests_to("shop.example")
    assert request.headers["Authorization"] == f"Bearer {SECRET}"
    assert request.headers["Proxy-Authorization"] is None


def test_plain_http_is_forwarded_by_a_proxy_that_gets_its_credentials(network: Network) -> None:
    environment = {"HTTP_PROXY": network.environment["HTTPS_PROXY"]}
    response = client(**environment).send("GET", "http://shop.example/tea", doing="brewing")
    assert (response.status, response.body) == (200, b"forwarded")
    assert network.forwards == ["http://shop.example/tea"]


def test_a_proxy_may_be_reached_over_tls(tmp_path: Path) -> None:
    with forward_proxy.network(tmp_path, is_proxy_encrypted=True) as company:
        company.serve("shop.example", lambda _: Answer(b"tea"))
        shop = client(**company.environment)
        assert shop.send("GET", "https://shop.example/", doing="brewing").body == b"tea"
        assert company.tunnels == ["shop.example:443"]


def test_a_proxy_that_wants_a_password_is_told_apart(network: Network) -> None:
    network.serve("shop.example", lambda _: Answer(b"tea"))
    environment = {**network.environment, "HTTPS_PROXY": f"http://ann:wrong-pass@{network.proxy}"}
    with pytest.raises(RemoteFailed, match="the proxy refuses: 407") as caught:
        client(**environment).send("GET", "https://shop.example/", doing="brewing")
    assert caught.value.kind == "rejected"
    assert "USER:PASSWORD" in caught.value.fix
    assert "wrong-pass" not in str(caught.value)


def test_a_proxy_that_does_not_reach_the_host_is_asked_again(network: Network) -> None:
    with pytest.raises(RemoteFailed, match="the proxy refuses: 502") as caught:
        client(**network.environment).send("GET", "https://shop.example/", doing="brewing")
    assert caught.value.passing


def test_an_unknown_authority_is_not_trusted_and_not_asked_again(network: Network) -> None:
    network.serve("shop.example", lambda _: Answer(b"tea"))
    environment = {"HTTPS_PROXY": network.environment["HTTPS_PROXY"], "SANDBOX_CA_BUNDLE": ""}
    with pytest.raises(RemoteFailed, match="certificate of the shop is not trusted") as caught:
        client(**environment).send("GET", "https://shop.example/", doing="brewing")
    assert not caught.value.passing
    assert "SANDBOX_CA_BUNDLE" in caught.value.fix
    assert not network.requests_to("shop.example")


def test_a_certificate_of_another_host_is_not_trusted(network: Network) -> None:
    network.serve("shop.example", lambda _: Answer(b"tea"))
    network.alias("bank.example", "shop.example")
    with pytest.raises(RemoteFailed, match="not trusted"):
        client(**network.environment).send("GET", "https://bank.example/", doing="brewing")


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"])
def test_the_bundle_of_other_tools_is_trusted(network: Network, name: str) -> None:
    network.serve("shop.example", lambda _: Answer(b"tea"))
    environment = {"HTTPS_PROXY": network.environment["HTTPS_PROXY"], name: str(network.bundle)}
    shop = client(**environment)
    assert shop.send("GET", "https://shop.example/", doing="brewing").body == b"tea"


def test_what_a_client_is_given_takes_precedence_over_the_environment(network: Network) -> None:
    network.serve("shop.example", lambda _: Answer(b"tea"))
    proxy = parse_proxy(network.environment["HTTPS_PROXY"], source="npm")
    shop = Client(
        SERVICE,
        environment={"HTTPS_PROXY": "http://127.0.0.1:9", "SANDBOX_CA_BUNDLE": ""},
        choose_proxy=lambda _: proxy,
        tls=Tls(bundle=str(network.bundle)),
    )
    assert shop.send("GET", "https://shop.example/", doing="brewing").body == b"tea"


def test_loopback_is_asked_directly() -> None:
    with loopback.answering(lambda _: Answer(b"tea")) as host:
        proxy = parse_proxy("http://127.0.0.1:9", source="npm")
        shop = Client(SERVICE, environment={}, choose_proxy=lambda _: proxy)
        assert shop.send("GET", f"http://{host}/", doing="brewing").body == b"tea"


def test_an_unreadable_bundle_is_a_mistake_of_the_configuration() -> None:
    shop = Client(SERVICE, environment={}, tls=Tls(bundle="/nowhere.pem"))
    with pytest.raises(BadInput, match=r"certificates of /nowhere\.pem cannot be read"):
        shop.send("GET", "https://shop.example/", doing="brewing")


# ── streams ─────────────────────────────────────────────────────────────────────────────────


def test_a_stream_comes_as_it_is_sent() -> None:
    with loopback.answering(lambda _: Answer(b"abc", drip=0.05)) as host:
        blocks = list(client().stream(f"http://{host}", doing="reading", headers={}, idle=5))
    assert b"".join(blocks) == b"abc"
    assert len(blocks) > 1


def test_a_stream_that_is_refused_says_so() -> None:
    with (
        loopback.answering(lambda _: Answer(b"no", 403)) as host,
        pytest.raises(RemoteFailed, match="reading: 403 no"),
    ):
        list(client().stream(f"http://{host}", doing="reading", headers={}, idle=5))
