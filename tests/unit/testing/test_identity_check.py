from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from tasks.base import identity, project
from tasks.base.errors import TaskError
from tasks.testing import identity_check

if TYPE_CHECKING:
    from pathlib import Path

#: Key of the table → a value that no project is likely to have: this is tested after a rename, too.
OTHER_VALUES = {
    "name": '"Nobodys agents"',
    "image": '"nobodys/agents"',
    "user": '"nobodys"',
    "uid": "54321",
    "repository": '"work/nobodys/monorepo"',
    "daemon-port": "13100",
    "opencode-port": "14196",
}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files that the check reads, in a folder of their own."""
    paths = {path for rule in identity_check.RULES for path in rule.files(project.ROOT)}
    for path in {*paths, "pyproject.toml"}:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(project.ROOT / path, tmp_path / path)
    return tmp_path


def rename(root: Path, key: str, value: str) -> None:
    path = root / "pyproject.toml"
    head, table, rest = path.read_text().partition("[tool.sandbox]\n")
    text, count = re.subn(rf"^{key} = .*", f"{key} = {value}", rest, count=1, flags=re.MULTILINE)
    assert count == 1
    path.write_text(head + table + text)


def test_every_file_of_this_repository_agrees_with_the_table() -> None:
    places = identity_check.differences(project.ROOT, project.IDENTITY)
    assert [str(place) for place in places] == []


@pytest.mark.parametrize("key", OTHER_VALUES)
def test_a_value_that_only_the_table_has_is_reported_with_file_and_line(
    copy: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rename(copy, key, OTHER_VALUES[key])
    with pytest.raises(TaskError, match=r"differ from .*nox -s lint -- --fix"):
        identity_check.check(copy)
    line = capsys.readouterr().err.splitlines()[0]
    place = re.match(r"([\w./-]+):(\d+): '(.+)', but (\S+) in", line)
    assert place
    path, number, value, named_key = place.groups()
    assert named_key == key
    assert value in (copy / path).read_text().splitlines()[int(number) - 1]


def test_all_values_are_corrected_and_back_again(copy: Path) -> None:
    original = {path: path.read_text() for path in copy.rglob("*") if path.is_file()}
    for key, value in OTHER_VALUES.items():
        rename(copy, key, value)
    identity_check.check(copy, fix=True)
    new_identity = identity.read(copy / "pyproject.toml")
    assert identity_check.differences(copy, new_identity) == []
    dockerfile = (copy / project.DOCKERFILE).read_text()
    assert "/home/nobodys/work/nobodys/monorepo/apps/daemon/.venv" in dockerfile
    assert "--chown=54321:54321" in dockerfile
    assert f"{project.USER} nobodys" not in dockerfile
    (copy / "pyproject.toml").write_text(original[copy / "pyproject.toml"])
    identity_check.check(copy, fix=True)
    assert {path: path.read_text() for path in original} == original


def test_a_file_that_no_longer_names_a_value_is_a_fault(copy: Path) -> None:
    path = copy / "apps/os/sandbox/entry.sh"
    path.write_text(path.read_text().replace(project.HOME, "/root"))
    with pytest.raises(TaskError, match=r"entry\.sh: nothing here matches"):
        identity_check.check(copy)


# ── the table ───────────────────────────────────────────────────────────────────────────────


def test_a_missing_table_has_the_defaults() -> None:
    assert identity.parse("") == identity.Identity()
    assert identity.parse('[tool.sandbox]\nuser = "acme"\n').home == "/home/acme"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('user = "Acme"', "`user` is 'Acme' → it has to be a user's name"),
        ('user = "root user"', "`user`"),
        ("uid = 0", "`uid` is 0 → it has to be a number from 1000 to 59999"),
        ("uid = true", "`uid` is True"),
        ('uid = "1000"', "`uid`"),
        ('repository = "../elsewhere"', "`repository`"),
        ('repository = "/work/x"', "`repository`"),
        ('image = "acme:latest"', "without a tag"),
        ('origin = "https://user:secret@example.com/x.git"', "`origin`"),
        ("daemon-port = 80", "`daemon-port` is 80"),
        ("daemon-port = 4096", "daemon-port and opencode-port are the same"),
        ('label = "acme"', "`label`"),
        ('usr = "acme"', "unknown key `usr` → the keys are: "),
        ("user = ", "not valid TOML"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_with_its_key(line: str, message: str) -> None:
    with pytest.raises(TaskError) as refusal:
        identity.parse(f"[tool.sandbox]\n{line}\n")
    assert message in str(refusal.value)


def test_a_table_that_is_none_is_refused() -> None:
    with pytest.raises(TaskError, match="is not a table"):
        identity.parse("[tool]\nsandbox = 3\n")
