"""The gate of a pull request: which results of its jobs let it pass."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tasks.base.errors import BadInput
from tasks.commands import gate as command
from tasks.github import gate


def needs(**jobs: Any) -> dict[str, Any]:
    """GitHub's `needs`; each job is a result, or a result and its outputs."""
    defaults = {"checks": "success", "plan": ("success", {"changed": "true"}), "sandbox": "success"}
    results = {
        name: (job, {}) if isinstance(job, str) else job for name, job in (defaults | jobs).items()
    }
    return {
        name: {"result": result, "outputs": outputs} for name, (result, outputs) in results.items()
    }


def passes(**jobs: Any) -> bool:
    return all(verdict.passes for verdict in gate.judge(needs(**jobs)))


UNCHANGED = ("success", {"changed": "false", "tested": ""})
TESTED = ("success", {"changed": "true", "tested": "true"})
NEW = ("success", {"changed": "true", "tested": ""})


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        ({}, True),
        ({"sandbox": "skipped", "plan": UNCHANGED}, True),
        ({"sandbox": "skipped", "plan": TESTED}, True),
        ({"sandbox": "skipped", "plan": NEW}, False),
        ({"sandbox": "skipped", "plan": ("success", {})}, False),
        ({"sandbox": "skipped", "plan": ("failure", {"changed": "false"})}, False),
        ({"sandbox": "failure", "plan": UNCHANGED}, False),
        ({"sandbox": "cancelled"}, False),
        ({"checks": "failure"}, False),
        ({"checks": "skipped", "plan": UNCHANGED}, False),
        ({"checks": "cancelled"}, False),
        ({"plan": "skipped", "sandbox": "skipped"}, False),
        ({"more": "skipped"}, False),
        ({"more": "something new"}, False),
    ],
)
def test_gate_passes_only_success_and_a_justified_skip(
    jobs: dict[str, Any], *, expected: bool
) -> None:
    assert passes(**jobs) == expected


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "1", '{"plan": 1}', '{"plan": {"result": "success"}}']
)
def test_gate_refuses_needs_without_its_jobs(text: str) -> None:
    with pytest.raises(BadInput, match="NEEDS is not"):
        gate.read(text)


def test_gate_names_the_job_that_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEEDS", json.dumps(needs(checks="failure")))
    with pytest.raises(gate.GateClosed, match="the gate is closed: checks"):
        command.main([])
    assert "plan: passed" in capsys.readouterr().err
    monkeypatch.setenv("NEEDS", json.dumps(needs()))
    command.main([])
    assert "the gate is open" in capsys.readouterr().err
