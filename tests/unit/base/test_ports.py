from __future__ import annotations

import os
import socket

import pytest

from tasks.base import ports


def test_owner_names_the_process_on_a_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert not ports.is_free(port)
        assert ports.find_owner(port).endswith(f"(pid {os.getpid()})")
    assert ports.is_free(port)
    assert not ports.find_owner(port)


@pytest.mark.parametrize(("publisher", "owner"), [("box", "box"), ("", "(pid ")])
def test_a_taken_port_is_refused_with_the_name_of_who_has_it(publisher: str, owner: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ports.PortTaken, match="for a test is taken by") as caught:
            ports.require_free(port, purpose="a test", find_publisher=lambda _: publisher)
    assert owner in caught.value.what
    ports.require_free(port, purpose="a test")


TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 4711 1 0 100 0
   1: 0100007F:0BB8 0100007F:D431 01 00000000:00000000 00:00000000 00000000  0  0 4712 1 0 100 0
   2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 4713 1 0 100 0
"""


@pytest.mark.parametrize(("port", "inodes"), [(3000, {"4711"}), (22, {"4713"}), (80, set())])
def test_listeners_are_read_from_proc(port: int, inodes: set[str]) -> None:
    assert ports.parse_listeners(TCP, port) == inodes
    assert ports.parse_listeners("", port) == set()
