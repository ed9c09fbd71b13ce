"""A machine with a docker CLI and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tasks.engine import advice, endpoint
from tests.unit.engine.fake_engine import DOCKER

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def machine(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A separate home and PATH, with a docker CLI that has buildx."""
    for name in ("DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(advice.TIMEOUT_VARIABLE, "1")  # leaves a busy machine a second
    for name in ("XDG_RUNTIME_DIR", "DOCKER_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(short_path))
    binaries = short_path / "bin"
    binaries.mkdir()
    (binaries / "docker").write_text(DOCKER)
    (binaries / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{binaries}:/usr/bin:/bin")
    monkeypatch.setattr(endpoint, "DEFAULT_HOST", f"unix://{short_path}/default.sock")
    return short_path
