"""The scripts of a service are looked at before s6 gets them: why one cannot be started."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import services

from tasks.base.project import ROOT, SANDBOX_DIR

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("content", "defect"),
    [
        (b"#!/bin/bash\n", ""),
        (b"#! /usr/bin/env  bash\n", ""),
        (b"#!/usr/bin/env -S bash -e\n", ""),
        (b"#!/bin/sh", ""),
        (b"\x7fELF\r\n\0", ""),
        (b"#!/bin/bash\r\necho\r\n", "Windows line ends"),
        (b"#!/bin/bash\necho\r\n", "Windows line ends"),
        (b"#!/usr/bin/no-such-shell\n", "does not exist, /usr/bin/no-such-shell"),
        (b"#!/usr/bin/env no-such-shell\n", "does not exist, no-such-shell"),
        (b"#!/tmp\n", "does not exist, /tmp"),
        (b"#!/nowhere/env bash\n", "does not exist"),
        (b"echo\n", "does not begin with #!"),
        (b"#!\n", "does not begin with #!"),
        (b"", "does not begin with #!"),
        (b"\xef\xbb\xbf#!/bin/bash\n", "does not begin with #!"),
        (b"\xff\xfe#\0!\0", "does not begin with #!"),
    ],
)
def test_a_defect_of_a_script_is_named(tmp_path: Path, content: bytes, defect: str) -> None:
    script = tmp_path / "run"
    script.write_bytes(content)
    description = services.find_defect(script)
    assert defect in description
    assert bool(description) == bool(defect)
    assert not description or " → " in description


def test_a_script_that_is_none_is_named(tmp_path: Path) -> None:
    assert "is missing" in services.find_defect(tmp_path / "run")
    assert "Is a directory" in services.find_defect(tmp_path)
    (tmp_path / "link").symlink_to("nowhere")
    assert "is missing" in services.find_defect(tmp_path / "link")


def test_ours_have_no_defect() -> None:
    scripts = [path for name in services._SCRIPTS
               for path in (ROOT / SANDBOX_DIR / "s6-daemons").glob(f"*/{name}")]  # fmt: skip
    assert len(scripts) == 7
    assert [services.find_defect(script) for script in scripts] == [""] * 7
