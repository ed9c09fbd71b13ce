from __future__ import annotations

import json
from typing import Any

import pytest

from tasks.base.errors import BadInput
from tasks.commands import gate as command
from tasks.github import gate


def needs(**jobs: Any) -> dict[str, Any]:
    """Each a result, or a result and its outputs."""
    given = {"checks": "success", "plan": ("success", {"changed": "true"}), "sandbox": "success"}
    pairs = {n: (j, {}) if isinstance(j, str) else j for n, j in (given | jobs).items()}
    return {name: {"result": result, "outputs": out} for name, (result, out) in pairs.items()}


def passes(**jobs: Any) -> bool:
    return all(verdict.passes for verdict in gate.judge(needs(**jobs)))


SAME = ("success", {"changed": "false", "tested": ""})
TESTED = ("success", {"changed": "true", "tested": "true"})
NEW = ("success", {"changed": "true", "tested": ""})


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        ({}, True),
        ({"sandbox": "skipped", "plan": SAME}, True),
        ({"sandbox": "skipped", "plan": TESTED}, True),
        ({"sandbox": "skipped", "plan": NEW}, False),
        ({"sandbox": "skipped", "plan": ("success", {})}, False),
        ({"sandbox": "skipped", "plan": ("failure", {"changed": "false"})}, False),
        ({"sandbox": "failure", "plan": SAME}, False),
        ({"sandbox": "cancelled"}, False),
        ({"checks": "failure"}, False),
        ({"checks": "skipped", "plan": SAME}, False),
        ({"checks": "cancelled"}, False),
        ({"plan": "skipped", "sandbox": "skipped"}, False),
        ({"more": "skipped"}, False),
        ({"more": "something new"}, False),
    ],
)
def test_what_passes(jobs: dict[str, Any], *, expected: bool) -> None:
    assert passes(**jobs) == expected


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "1", '{"plan": 1}', '{"plan": {"result": "success"}}']
)
def test_a_gate_that_knows_no_jobs_is_an_error(text: str) -> None:
    with pytest.raises(BadInput, match="NEEDS is not"):
        gate.read(text)


def test_the_command_names_what_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEEDS", json.dumps(needs(checks="failure")))
    with pytest.raises(command.Closed, match="the gate is closed: checks"):
        command.main([])
    assert "plan: passed" in capsys.readouterr().err
    monkeypatch.setenv("NEEDS", json.dumps(needs()))
    command.main([])
    assert "the gate is open" in capsys.readouterr().err
