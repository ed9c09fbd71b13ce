"""`snapshot_daytona -- --dry-run` in a repository of a test's own."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tasks.base.errors import BadInput
from tasks.commands import snapshot_daytona

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class DryRun:
    """`snapshot_daytona -- --dry-run` in that repository, and what it commands."""

    repo: Path
    capsys: pytest.CaptureFixture[str]
    commands: list[list[str]] = field(default_factory=list)

    def __call__(self, *arguments: str) -> tuple[dict[str, Any], str]:
        """Its JSON, and what it said to people."""
        self.capsys.readouterr()
        self.commands.clear()
        snapshot_daytona.main([*arguments, "--stage", "dev-x", "--dry-run", "--json"])
        result = self.capsys.readouterr()
        return json.loads(result.out), result.err

    def refuses(self, ref: str) -> BadInput:
        """In one line, with exit status 2; nothing is written, and git never sees the text."""
        fingerprint = self._fingerprint()
        with pytest.raises(BadInput) as caught:
            self("--ref", ref)
        assert caught.value.exit_status == 2
        assert caught.value.fix
        assert "\n" not in str(caught.value)
        assert self._fingerprint() == fingerprint
        assert {command[0] for command in self.commands} == {"git"}
        if len(ref.strip()) > 3:
            assert not any(ref in word for command in self.commands for word in command)
        assert not any("fetch" in command for command in self.commands)
        return caught.value

    def _fingerprint(self) -> dict[str, tuple[int, int]]:
        paths = ((path, path.lstat()) for path in self.repo.parent.rglob("*"))
        return {str(path): (s.st_mtime_ns, s.st_ctime_ns) for path, s in paths}
