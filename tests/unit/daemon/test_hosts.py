from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from iterate_daemon.hosts import Authority, is_allowed, is_same_origin, parse_authority

ALLOWED_NAMES = ("sandbox.example.com", "*.preview.example")


def answers(host: str) -> bool:
    authority = parse_authority(host)
    return authority is not None and is_allowed(authority, ALLOWED_NAMES)


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:3000", "LOCALHOST:3000", "127.0.0.1", "127.0.0.1:3000"),
        *("192.168.1.7:3000", "[::1]", "[::1]:3000", "[FE80::1]:3000", "[::ffff:127.0.0.1]"),
        *("sandbox.example.com", "Sandbox.Example.Com:443", "a.preview.example"),
        "3000-abc.b.preview.example",
    ],
)
def test_a_safe_host_is_allowed(host: str) -> None:
    assert answers(host)


@pytest.mark.parametrize(
    "host",
    [
        *("evil.com", "localhost.evil.com", "127.0.0.1.nip.io", "127.0.0.1.nip.io:3000"),
        *(
            "notlocalhost",
            "localhost.",
            "xlocalhost",
            "localhost:0",
            "localhost:65536",
            "localhost:",
        ),
        *("localhost:3000:3000", "localhost:+3000", "localhost:٣", "localhost:", ""),
        *("localhost@evil.com", "l\u043ecalhost"),
        *("evil.com@localhost", "localhost/", "localhost#", "localhost?x", "localhost evil.com"),
        *("localhost,evil.com", "::1", "[::1", "::1]", "[127.0.0.1]", "[::1%25eth0]", "[evil]"),
        *("2130706433", "0x7f.1", "127.1", "0177.0.0.1", "256.0.0.1", "\uff11\uff12\uff17.0.0.1"),
        *("preview.example", ".preview.example", "xpreview.example", "a.preview.example.evil.com"),
        *("sandbox.example.com.evil.com", "localhost\n", "localhost\x00", "a" * 300),
    ],
)
def test_an_unsafe_host_is_not_allowed(host: str) -> None:
    assert not answers(host)


PORTS = st.none() | st.integers(1, 65535)


def with_port(host: str, port: int | None) -> str:
    return host if port is None else f"{host}:{port}"


@given(st.ip_addresses(), PORTS)
def test_every_ip_literal_is_read_back(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int | None
) -> None:
    host = str(address) if address.version == 4 else f"[{address}]"
    authority = parse_authority(with_port(host, port))
    assert authority is not None
    assert ipaddress.ip_address(authority.host) == address
    assert authority.port == port
    assert is_allowed(authority, ())


@given(st.text(max_size=60) | st.text("localhost.:0123456789[]@%/\\ \t", max_size=30))
def test_a_random_text_is_not_an_allowed_host(text: str) -> None:
    """Whatever is answered is localhost or an IP literal, with nothing before or after it."""
    authority = parse_authority(text)
    if authority is None or not is_allowed(authority, ()):
        return
    bare = text.removesuffix(f":{authority.port}") if authority.port else text
    if ":" in text and authority.port and not text.endswith(f":{authority.port}"):
        bare = text.rpartition(":")[0]  # leading zeros in the port
    if authority.is_literal:
        ipaddress.ip_address(bare.strip("[]"))
    else:
        assert bare.lower() == "localhost"


LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)


@given(st.lists(LABELS, min_size=2, max_size=5).map(".".join), PORTS)
def test_a_name_is_allowed_only_when_it_is_listed(name: str, port: int | None) -> None:
    authority = parse_authority(with_port(name, port))
    if authority is None:
        return  # such as 1.2.3.300 with a zero in front: not a name either
    if not authority.is_literal:
        assert not is_allowed(authority, ())
        assert not is_allowed(authority, ("*." + name,))
    assert is_allowed(authority, (name,))


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://localhost:3000", "localhost:3000"),
        ("http://[::1]:3000", "[::1]:3000"),
        ("http://127.0.0.1", "127.0.0.1:80"),
        ("https://sandbox.example.com", "sandbox.example.com"),
        ("https://sandbox.example.com", "sandbox.example.com:443"),
    ],
)
def test_the_daemons_own_page_has_the_same_origin(origin: str, host: str) -> None:
    assert is_same_origin(origin, Authority(*_parts(host)))


@pytest.mark.parametrize(
    "origin",
    [
        *("", "null", "http://evil.com", "http://localhost:3001", "http://localhost"),
        *("http://127.0.0.1:3000", "http://localhost:3000.evil.com", "file://", "http://"),
        *("http://localhost.evil.com:3000", "http://127.0.0.1.nip.io:3000", "localhost:3000"),
        *("chrome-extension://localhost:3000", "http://localhost:3000/", "http://x@localhost:3000"),
    ],
)
def test_a_foreign_page_has_another_origin(origin: str) -> None:
    assert not is_same_origin(origin, Authority("localhost", 3000))


def _parts(host: str) -> tuple[str, int | None]:
    authority = parse_authority(host)
    assert authority is not None
    return authority.host, authority.port
