"""A bump on trial survives `kill -9`: what it replaced is written down before it is applied.

While a bump is verified, the repository holds versions that may not work. If the run is killed
then, the next one that writes puts the old versions back, and `--check` fails until that is done.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from tasks.base.errors import TaskError
from tasks.base.parsing import parse_json
from tasks.bump import documents, edit
from tasks.bump.edit import PinMove

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_FILE: Final = "bump-on-trial.json"


class BumpOnTrial(TaskError):
    """An earlier run was killed during its trial."""

    code = "unverified"


class VerificationFailed(TaskError):
    """The trial has shown that the bump does not work."""

    code = "verification-failed"


def begin(state: Path, moves: Iterable[PinMove], *, work: Path) -> None:
    """Note what is about to be put on trial."""
    text = json.dumps([asdict(move) for move in moves])
    documents.write(state / _FILE, text, work=work)


def end(state: Path) -> None:
    """The trial is over: the bump was kept, or taken back."""
    (state / _FILE).unlink(missing_ok=True)


def is_open(state: Path) -> bool:
    """Whether a run was killed during its trial, or is in it at this moment."""
    return (state / _FILE).exists()


def restore(root: Path, state: Path, *, work: Path) -> list[PinMove]:
    """Put back what a killed run left on trial; returns it. Raises `BumpOnTrial` when the notes
    cannot be read.
    """
    moves = edit.take_back(root, _read(state / _FILE), work=work)
    end(state)
    return moves


def _read(file: Path) -> list[PinMove]:
    try:
        entries: Any = parse_json(file.read_text())
        moves = [PinMove(**entry) for entry in entries]
    except (OSError, ValueError, TypeError) as error:
        raise BumpOnTrial(
            f"an earlier run was killed while it verified its bump, and {file} cannot be read",
            fix="restore the Dockerfile and its locks with git, then delete that file",
        ) from error
    return moves
