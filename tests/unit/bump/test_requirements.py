from __future__ import annotations

from pathlib import Path

import pytest

from tasks.base.project import ROOT
from tasks.bump import requirements

TEXT = """\
# Compiled by something
anyio==4.16.0 \\
    --hash=sha256:aaaa \\
    --hash=sha256:bbbb
    # via httpx
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:cccc
"""


def test_pins_know_whether_they_have_a_hash() -> None:
    assert requirements.pins(TEXT) == {
        "anyio==4.16.0": True,
        "colorama==0.4.6 ; sys_platform == 'win32'": True,
    }


def test_more_files_of_a_release_are_no_difference() -> None:
    longer = TEXT.replace("--hash=sha256:aaaa", "--hash=sha256:aaaa --hash=sha256:dddd")
    assert requirements.difference(TEXT, longer) == []
    assert requirements.difference(TEXT, TEXT.replace("# Compiled by something", "")) == []


def test_another_version_is_a_difference() -> None:
    new = TEXT.replace("4.16.0", "4.17.0")
    assert requirements.difference(TEXT, new) == ["- anyio==4.16.0", "+ anyio==4.17.0"]


def test_a_pin_without_a_hash_is_a_difference() -> None:
    bare = "anyio==4.16.0\n"
    assert requirements.difference(bare, bare) == ["- anyio==4.16.0 has no hash"]


def test_every_pin_of_a_new_file_is_a_difference() -> None:
    assert requirements.difference("", "a==1 \\\n    --hash=sha256:aa\n") == ["+ a==1"]


def versions(text: str) -> dict[str, str]:
    """Name → version, whatever the marker."""
    pairs = (pin.split(" ;")[0].split("==") for pin in requirements.pins(text))
    return dict(pairs)


@pytest.mark.parametrize("file", requirements.FILES, ids=lambda file: Path(file.path).name)
def test_committed_requirement_files_have_hashes_and_share_pins(
    file: requirements.Compiled,
) -> None:
    text = (ROOT / file.path).read_text()
    assert text.startswith(requirements.header(file))
    assert all(requirements.pins(text).values())
    # No index, no place of one machine: every user's own index serves them.
    assert "://" not in text
    assert "--index" not in text
    assert str(ROOT) not in text
    for shared_path in file.shares:
        shared_versions = versions(requirements.read(shared_path))
        for name, version in versions(text).items():
            assert shared_versions.get(name, version) == version
