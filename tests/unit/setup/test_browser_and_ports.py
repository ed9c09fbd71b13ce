from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from tasks.base import ports
from tasks.base.errors import BadInput
from tasks.setup import browser

if TYPE_CHECKING:
    from pathlib import Path


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def _no_applications(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "APPLICATIONS", ())


def test_chromium_on_the_path(tmp_path: Path) -> None:
    chromium = program(tmp_path / "bin/chromium", "#!/bin/sh\n")
    assert browser.find({"PATH": str(tmp_path / "bin")}) == chromium


def test_none(tmp_path: Path) -> None:
    assert browser.find({"PATH": str(tmp_path)}) is None


def test_ubuntus_stub_is_no_browser(tmp_path: Path) -> None:
    stub = '#!/bin/sh\nif ! [ -x /snap/bin/chromium ]; then echo "snap install chromium" >&2; fi\n'
    program(tmp_path / "bin/chromium-browser", stub)
    assert browser.find({"PATH": str(tmp_path / "bin")}) is None


def test_the_variable(tmp_path: Path) -> None:
    own = program(tmp_path / "mine", "")
    assert browser.find({"ITERATE_CHROMIUM": str(own)}) == own
    with pytest.raises(BadInput, match="ITERATE_CHROMIUM"):
        browser.find({"ITERATE_CHROMIUM": str(tmp_path / "missing")})


def test_a_free_port_and_the_owner_of_a_taken_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert not ports.is_free(port)
        assert ports.owner(port).endswith(f"(pid {os.getpid()})")
    assert ports.is_free(port)
    assert not ports.owner(port)


def test_listening_rows_of_proc() -> None:
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt uid t inode"
    row = " 0: 0100007F:{port:04X} 00000000:0000 {state} 0:0 00:0 0 0 0 {inode} 1"
    rows = [
        row.format(port=3000, state="0A", inode=11),
        row.format(port=3000, state="01", inode=12),  # established
        row.format(port=4096, state="0A", inode=13),
    ]
    assert ports.listening("\n".join([head, *rows]), 3000) == {"11"}
    assert ports.listening("", 3000) == set()
