"""Secrets planted in every place of a repository are refused, by each way of building; harmless
files that look alike are not.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tasks.base.errors import BadInput
from tasks.git.secrets import rules
from tests.git.test_landed_secrets import by_hand, of_a_ref, of_the_working_tree
from tests.support import builder, canaries, repos

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)
CHECKS = [of_the_working_tree, of_a_ref, by_hand]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("BASE_IMAGE", "x")


def write(repo: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_bytes(content)


def committed(repo: Path, files: Mapping[str, bytes]) -> None:
    write(repo, files)
    repos.commit(repo)


def deleted_later(repo: Path, files: Mapping[str, bytes]) -> None:
    committed(repo, files)
    repos.git(repo, "rm", "-q", "--", *files)
    repos.commit(repo)


def staged(repo: Path, files: Mapping[str, bytes]) -> None:
    write(repo, files)
    repos.git(repo, "add", "-A")
    for name in files:
        (repo / name).unlink()


#: Where a canary is, and which ways of building bring it into an image.
PLACES = [
    pytest.param(write, [of_the_working_tree, by_hand], id="files"),
    pytest.param(staged, [of_the_working_tree, by_hand], id="index"),
    pytest.param(committed, CHECKS, id="commit"),
    pytest.param(deleted_later, CHECKS, id="history"),
]


@pytest.mark.parametrize(("plant", "checks"), PLACES)
def test_each_canary_is_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    plant: Callable[[Path, Mapping[str, bytes]], None],
    checks: list[Callable[[Path], None]],
) -> None:
    planted = canaries.CANARIES
    assert len(planted) > 120
    repo = repos.new(tmp_path / "repo", **builder.buildable())
    plant(repo, planted)
    for check in checks:
        capsys.readouterr()
        with pytest.raises(BadInput, match="secrets must not get into an image"):
            check(repo)
        log = capsys.readouterr().err
        missed = [name for name in planted if f"  {name} (" not in log]
        assert not missed, f"{check.__name__}: {len(missed)} of {len(planted)} canaries: {missed}"


def test_lookalikes_are_no_secrets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    harmless = canaries.LOOKALIKES
    assert len(harmless) > 50
    repo = repos.new(tmp_path / "repo", **builder.buildable())
    deleted_later(repo, {f"old/{name}": content for name, content in harmless.items()})
    committed(repo, harmless)
    for check in CHECKS:
        try:
            check(repo)
        except BadInput as error:
            pytest.fail(f"{check.__name__}: {error.what}\n{capsys.readouterr().err}")


@pytest.fixture(scope="module")
def gitleaks(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program, of this machine or of Debian's package."""
    installed = shutil.which("gitleaks")
    if installed:
        return installed
    folder = tmp_path_factory.mktemp("gitleaks")
    for command in (["apt-get", "download", "gitleaks"], ["dpkg-deb", "-x", "PACKAGE", "."]):
        package = next((str(path) for path in folder.glob("*.deb")), "")
        args = [package if word == "PACKAGE" else word for word in command]
        result = subprocess.run(
            args, cwd=folder, capture_output=True, text=True, timeout=120, check=False
        )
        assert result.returncode == 0, f"{args}: {result.stderr} (nox -s setup adds its source)"
    return str(folder / "usr/bin/gitleaks")


def test_gitleaks_finds_no_canary_that_the_rules_miss(tmp_path: Path, gitleaks: str) -> None:
    planted = canaries.CANARIES
    write(tmp_path, planted)
    options = ["--no-git", "--no-banner", "--exit-code=0", "--report-format=json"]
    command = [gitleaks, "detect", *options, "--report-path=report.json", "--source=."]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    report = (tmp_path / "report.json").read_text()
    names = [name for name in planted if f'"{name}"' in report]
    assert len(names) > 20
    missed = [name for name in names if not _is_refused(name, planted[name])]
    assert not missed
    assert sum(_is_refused(name, content) for name, content in planted.items()) == len(planted)


def _is_refused(name: str, content: bytes) -> bool:
    path = name.encode()
    return bool(rules.by_name(path, tracked=True) or rules.by_content(content, path))


def test_what_is_allowed_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repo = repos.new(tmp_path / "repo", **builder.buildable())
    repos.write(repo, {"pyproject.toml": '[tool.sandbox.secrets]\nallow = ["tests/*", "*"]\n'})
    planted = {f"tests/{name}": content for name, content in canaries.STORES.items()}
    committed(repo, {**planted, "id_rsa": b"x", "x/.env": b"A=1"})
    for check in CHECKS:
        capsys.readouterr()
        check(repo)
        log = capsys.readouterr().err
        assert f"{len(planted) + 2} secrets are let through" in log
        assert f"{len(planted)} by 'tests/*', 2 by '*'" in log


def test_a_file_that_is_not_read_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "LARGEST_READ", 50_000)
    repo = repos.new(tmp_path / "repo", **builder.buildable())
    committed(repo, {"old.log": b"x" * 52_000})
    write(repo, {"new.log": b"y" * 53_000, "small.log": b"z"})
    for check in (of_the_working_tree, by_hand):
        check(repo)
        log = capsys.readouterr().err
        assert "not searched for secrets, since they are too large: new.log (53.0 kB)" in log
        assert "52.0 kB of the history was too much to be searched for secrets" in log
    assert "small.log" not in log
    packing = builder.pack(repo, tmp_path / "parts")
    assert any("52.0 kB of the history" in note for note in packing.report.notes)
