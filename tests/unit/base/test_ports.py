from __future__ import annotations

import os
import socket

from tasks.base import ports


def test_owner_names_the_process_on_a_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert not ports.is_free(port)
        assert ports.owner(port).endswith(f"(pid {os.getpid()})")
    assert ports.is_free(port)
    assert not ports.owner(port)


def test_listening_reads_the_rows_of_proc() -> None:
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt uid t inode"
    row = " 0: 0100007F:{port:04X} 00000000:0000 {state} 0:0 00:0 0 0 0 {inode} 1"
    rows = [
        row.format(port=3000, state="0A", inode=11),
        row.format(port=3000, state="01", inode=12),  # established
        row.format(port=4096, state="0A", inode=13),
    ]
    assert ports.listening("\n".join([head, *rows]), 3000) == {"11"}
    assert ports.listening("", 3000) == set()
