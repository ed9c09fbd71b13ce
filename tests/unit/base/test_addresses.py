from __future__ import annotations

import pytest

from tasks.base import addresses


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://user:pass@example.com:8443/x?y", "example.com"),
        ("127.0.0.1:3128", "127.0.0.1"),
        ("[::1]:80", "::1"),
        ("http://[::1", ""),
        ("", ""),
        ("/a/path", ""),
    ],
)
def test_an_address_has_a_host(address: str, host: str) -> None:
    assert addresses.host_of(address) == host


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "127.9.8.7", "::1"])
def test_loopback_is_this_machine(host: str) -> None:
    assert addresses.is_loopback(host)


@pytest.mark.parametrize("host", ["", "localhost.example.com", "127.0.0.1.example.com", "10.0.0.1"])
def test_other_hosts_are_not_this_machine(host: str) -> None:
    assert not addresses.is_loopback(host)


@pytest.mark.parametrize(
    ("host", "is_link_local"),
    [("169.254.169.254", True), ("::ffff:169.254.169.254", True), ("fe80::1", True),
     ("10.0.0.1", False), ("metadata", False)],
)  # fmt: skip
def test_link_local_addresses_are_those_of_metadata(host: str, is_link_local: bool) -> None:
    assert addresses.is_link_local(host) is is_link_local


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ("https://a.example/x", "https://a.example:443/y?z", True),
        ("https://A.example/", "https://a.example/", True),
        ("http://a.example/", "https://a.example/", False),
        ("https://a.example/", "https://a.example:444/", False),
        ("https://a.example/", "https://b.a.example/", False),
        ("https://a.example/", "https://a.example@b.example/", False),
        ("https://a.example/", "https://u@a.example/", False),
        ("https://a.example/", "https://a.example:port/", False),
        ("https://a.example/", "https://[::1", False),
        ("/x", "/y", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(first: str, second: str, is_same: bool) -> None:
    assert addresses.is_same_origin(first, second) is is_same
