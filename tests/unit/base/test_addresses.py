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
def test_the_host_of_an_address(address: str, host: str) -> None:
    assert addresses.host_of(address) == host


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "127.9.8.7", "::1"])
def test_this_machine(host: str) -> None:
    assert addresses.is_loopback(host)


@pytest.mark.parametrize("host", ["", "localhost.example.com", "127.0.0.1.example.com", "10.0.0.1"])
def test_another_machine(host: str) -> None:
    assert not addresses.is_loopback(host)


@pytest.mark.parametrize(
    ("host", "is_one"),
    [("169.254.169.254", True), ("::ffff:169.254.169.254", True), ("fe80::1", True),
     ("10.0.0.1", False), ("metadata", False)],
)  # fmt: skip
def test_where_clouds_serve_metadata(host: str, is_one: bool) -> None:
    assert addresses.is_link_local(host) is is_one
