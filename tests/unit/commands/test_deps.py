from __future__ import annotations

from pathlib import Path

import pytest

from tasks.base.project import ROOT
from tasks.commands import deps

TEXT = """\
# Compiled by something
anyio==4.16.0 \\
    --hash=sha256:aaaa \\
    --hash=sha256:bbbb
    # via httpx
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:cccc
"""


def test_pins() -> None:
    assert deps.pins(TEXT) == {
        "anyio==4.16.0": True,
        "colorama==0.4.6 ; sys_platform == 'win32'": True,
    }


def test_more_files_of_the_same_release_are_no_difference() -> None:
    more = TEXT.replace("--hash=sha256:aaaa", "--hash=sha256:aaaa --hash=sha256:dddd")
    assert deps.difference(TEXT, more) == []
    assert deps.difference(TEXT, TEXT.replace("# Compiled by something", "")) == []


def test_another_version_is() -> None:
    new = TEXT.replace("4.16.0", "4.17.0")
    assert deps.difference(TEXT, new) == ["- anyio==4.16.0", "+ anyio==4.17.0"]


def test_a_pin_without_a_hash_is() -> None:
    bare = "anyio==4.16.0\n"
    assert deps.difference(bare, bare) == ["- anyio==4.16.0 has no hash"]


def test_a_new_file() -> None:
    assert deps.difference("", "a==1 \\\n    --hash=sha256:aa\n") == ["+ a==1"]


def versions(text: str) -> dict[str, str]:
    """Name → version, whatever the marker."""
    pairs = (pin.split(" ;")[0].split("==") for pin in deps.pins(text))
    return dict(pairs)


@pytest.mark.parametrize("file", deps.FILES, ids=lambda file: Path(file.path).name)
def test_the_committed_files(file: deps.Compiled) -> None:
    text = (ROOT / file.path).read_text()
    assert text.startswith(deps.header(file))
    assert all(deps.pins(text).values())
    # No index, no place of one machine: every user's own index serves them.
    assert "://" not in text
    assert "--index" not in text
    assert str(ROOT) not in text
    for other in file.shares:
        shared = versions(deps.read(other))
        for name, version in versions(text).items():
            assert shared.get(name, version) == version
