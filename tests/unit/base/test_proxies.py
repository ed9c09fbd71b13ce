"""Which requests leave through a proxy, and what of its address is shown."""

from __future__ import annotations

import base64

import pytest

from tasks.base import proxies
from tasks.base.errors import BadInput

API = "https://api.example.com/v1"


def url_for(url: str, **environment: str) -> str | None:
    proxy = proxies.choose_proxy(url, environment)
    return proxy.url if proxy else None


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ({"https_proxy": "http://p:1", "HTTPS_PROXY": "http://q:2"}, "http://p:1"),
        ({"https_proxy": "", "HTTPS_PROXY": "http://q:2"}, None),
        ({"HTTP_PROXY": "http://p:1"}, None),
        ({"ALL_PROXY": "http://p:1"}, "http://p:1"),
        ({"all_proxy": "http://p:1", "HTTPS_PROXY": "http://q:2"}, "http://q:2"),
        ({"HTTPS_PROXY": "p:3128"}, "http://p:3128"),
        ({"HTTPS_PROXY": "http://p"}, "http://p:80"),
        ({"HTTPS_PROXY": "https://p/"}, "https://p:443"),
        ({"HTTPS_PROXY": "http://[fd00::1]:3128"}, "http://[fd00::1]:3128"),
        ({"HTTPS_PROXY": " http://p:1\n"}, "http://p:1"),
    ],
)
def test_environment_names_the_proxy(environment: dict[str, str], proxy: str | None) -> None:
    assert url_for(API, **environment) == proxy


def test_plain_http_has_a_proxy_of_its_own() -> None:
    environment = {"HTTP_PROXY": "http://plain:1", "HTTPS_PROXY": "http://secure:2"}
    assert url_for("http://api.example.com/", **environment) == "http://plain:1"
    assert url_for(API, **environment) == "http://secure:2"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "x.localhost", "127.0.0.1", "127.8.9.1", "[::1]",
             "[::ffff:127.0.0.1]"],
)  # fmt: skip
def test_loopback_is_never_proxied(host: str) -> None:
    assert (
        url_for(f"https://{host}:3000/", ALL_PROXY="http://p:1", HTTPS_PROXY="http://p:1") is None
    )


@pytest.mark.parametrize(
    ("no_proxy", "host", "port"),
    [
        ("*", "a.example", 443),
        ("b.example,*", "a.example", 443),
        ("corp.example", "corp.example", 443),
        ("corp.example", "git.corp.example", 443),
        (".corp.example", "git.corp.example", 443),
        (".corp.example", "corp.example", 443),
        ("*.corp.example", "git.corp.example", 443),
        ("CORP.example", "Git.Corp.Example.", 443),
        ("x, corp.example ,y", "corp.example", 443),
        ("x corp.example", "corp.example", 443),
        ("corp.example:8443", "corp.example", 8443),
        ("10.1.2.3", "10.1.2.3", 443),
        ("10.1.2.3:80", "10.1.2.3", 80),
        ("10.0.0.0/8", "10.200.0.1", 443),
        ("10.1.2.3/8", "10.200.0.1", 443),
        ("10.0.0.0/8:443", "10.200.0.1", 443),
        ("fd00::/8", "fd12::1", 443),
        ("[fd12::1]:443", "fd12::1", 443),
        ("fd12:0::1", "fd12::1", 443),
    ],
)
def test_no_proxy_excludes_a_host(no_proxy: str, host: str, port: int) -> None:
    assert proxies.is_excluded(no_proxy, host, port)


@pytest.mark.parametrize(
    ("no_proxy", "host", "port"),
    [
        ("", "a.example", 443),
        (",", "a.example", 443),
        (".", "a.example", 443),
        ("orp.example", "corp.example", 443),
        ("corp.example", "corp.example.org", 443),
        ("git.corp.example", "corp.example", 443),
        ("corp.example:8443", "corp.example", 443),
        ("10.0.0.0/8", "11.0.0.1", 443),
        ("10.0.0.0/8", "10.example", 443),
        ("2.3", "10.1.2.3", 443),
        ("0.0.0.0/99", "10.1.2.3", 443),
        ("fd00::/8", "10.1.2.3", 443),
        ("[fd12::1]:80", "fd12::1", 443),
    ],
)
def test_no_proxy_leaves_another_host_to_the_proxy(no_proxy: str, host: str, port: int) -> None:
    assert not proxies.is_excluded(no_proxy, host, port)


def test_the_default_port_counts_as_the_port() -> None:
    assert url_for(API, HTTPS_PROXY="http://p:1", NO_PROXY="api.example.com:443") is None
    assert url_for(API, HTTPS_PROXY="http://p:1", no_proxy="x", NO_PROXY="*") == "http://p:1"


@pytest.mark.parametrize(
    ("credentials", "pair"),
    [
        ("ann:secret", "ann:secret"),
        ("ann:p%40ss%3A%2F", "ann:p@ss:/"),
        ("ann:p@ss", "ann:p@ss"),
        ("ann", "ann:"),
        (":secret", ":secret"),
        ("J%C3%BCrgen:gr%C3%BCn", "Jürgen:grün"),
    ],
)
def test_credentials_become_a_header(credentials: str, pair: str) -> None:
    proxy = proxies.parse_proxy(f"http://{credentials}@p:1", source="HTTPS_PROXY")
    assert proxy.url == "http://p:1"
    encoded = base64.b64encode(pair.encode()).decode()
    assert proxy.headers == {"Proxy-Authorization": f"Basic {encoded}"}
    assert encoded not in repr(proxy)


@pytest.mark.parametrize(
    "text",
    ["http://", "http://u:s3cret@", "ftp://u:s3cret@p:1", "http://u:s3cret@p:port",
     "socks5://u:s3cret@p:1", "http://u:s3cret@[::1", "http://u:s3cret@p q:1"],
)  # fmt: skip
def test_an_unusable_address_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(BadInput, match="HTTPS_PROXY") as caught:
        proxies.choose_proxy(API, {"HTTPS_PROXY": text})
    assert "s3cret" not in str(caught.value)
