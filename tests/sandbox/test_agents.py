"""Each agent really works: it asks a model, with our instructions, and hands on the answer."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from iterate_daemon.versions import TOOLS

from tasks.base import project, waiting
from tests.sandbox.support import ENV_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tasks.sandbox.sandbox import Sandbox
    from tasks.sandbox.values import ExecResult
    from tests.sandbox.conftest import Maker

PORT = 18080
URL = f"http://127.0.0.1:{PORT}"
FOLDER = "/tmp/model"
#: Nothing of the repository's own instructions here: only the home's can reach the model.
ELSEWHERE = "/tmp/elsewhere"

OPENCODE = {
    "model": "anthropic/claude-sonnet-4-5",
    "provider": {"anthropic": {"options": {"baseURL": f"{URL}/v1", "apiKey": "none"}}},
}
PI = {
    "providers": {
        "stand-in": {
            "baseUrl": f"{URL}/v1",
            "api": "openai-completions",
            "apiKey": "none",
            "models": [{"id": "stand-in"}],
        }
    }
}


@dataclass(frozen=True)
class Agent:
    name: str
    command: str
    path: str
    instructions: str
    env: Mapping[str, str]


AGENTS = (
    Agent(
        name="claude",
        command="claude -p",
        path="/v1/messages",
        instructions=".claude/CLAUDE.md",
        env={
            "ANTHROPIC_BASE_URL": URL,
            "ANTHROPIC_API_KEY": "none",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        },
    ),
    Agent(
        name="opencode",
        command="opencode run",
        path="/v1/messages",
        instructions=".config/opencode/AGENTS.md",
        env={"OPENCODE_CONFIG_CONTENT": json.dumps(OPENCODE)},
    ),
    Agent(
        name="pi",
        command="pi -p --provider stand-in --model stand-in",
        path="/v1/chat/completions",
        instructions=".pi/agent/AGENTS.md",
        env={},
    ),
)


class Model:
    """The stand-in running in a sandbox, and what it was asked."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.answer = f"pong-{secrets.token_hex(6)}"
        self._log = f"{FOLDER}/requests.jsonl"
        program = Path(__file__).with_name("model_stand_in.py").read_bytes()
        sandbox.write(f"{FOLDER}/model.py", program)
        sandbox.exec(
            f"mkdir -p {ELSEWHERE}; cd {FOLDER}; "
            f"setsid python3 model.py {PORT} {self.answer} {self._log} >model.log 2>&1 </dev/null &"
        )
        waiting.until(
            lambda: sandbox.exec(["curl", "-fsS", f"{URL}/v1/models"], check=False).ok,
            what="the model stand-in",
            timeout=20,
            state=lambda: sandbox.exec(["cat", f"{FOLDER}/model.log"]).stdout,
        )

    def forget(self) -> None:
        self.sandbox.exec(["rm", "-f", self._log])

    def requests(self) -> list[dict[str, Any]]:
        lines = self.sandbox.exec(f"cat {self._log} 2>/dev/null; true").stdout.splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def model(everyones: Maker) -> Iterator[Model]:
    sandbox = everyones(purpose="agents")
    models = f"{project.HOME}/.pi/agent/models.json"
    sandbox.write(models, json.dumps(PI).encode())
    yield Model(sandbox)
    if not sandbox.run.keep:
        sandbox.delete()


def ask(model: Model, agent: Agent, question: str, *, login: bool) -> ExecResult:
    model.forget()
    text = f"{agent.command} '{question}'"
    run = model.sandbox.login if login else model.sandbox.exec
    return run(text, cwd=ELSEWHERE, env=dict(agent.env), timeout=90)


def distinctive(text: str) -> str:
    """The longest line: no agent's own prompt has it by chance."""
    return max((line.strip() for line in text.splitlines()), key=len)


@pytest.mark.parametrize("agent", AGENTS, ids=lambda a: a.name)
def test_it_answers_and_knows_its_instructions(model: Model, agent: Agent) -> None:
    question = f"say {secrets.token_hex(4)}"
    result = ask(model, agent, question, login=False)
    assert model.answer in result.stdout

    asked = [r for r in model.requests() if r["path"] == agent.path]
    assert asked, model.requests()
    bodies = [strings(r["body"]) for r in asked]
    phrase = distinctive(model.sandbox.read(f"{project.HOME}/{agent.instructions}").decode())
    assert len(phrase) > 60
    # In the very request that holds the question.
    assert any(question in body and phrase in body for body in bodies), phrase


@pytest.mark.parametrize("agent", AGENTS, ids=lambda a: a.name)
def test_it_answers_in_a_login_shell(model: Model, agent: Agent) -> None:
    assert model.answer in ask(model, agent, "once more", login=True).stdout


@pytest.mark.parametrize("agent", AGENTS[:2], ids=lambda a: a.name)  # Pi's are in a file
@pytest.mark.parametrize("login", [False, True], ids=["docker exec", "login shell"])
def test_it_finds_its_settings_in_the_env_file(model: Model, agent: Agent, login: bool) -> None:
    lines = [f"{name}={value}\n" for name, value in agent.env.items()]
    model.sandbox.write(ENV_FILE, "".join(lines).encode(), mode=0o600)
    try:
        assert model.answer in ask(model, replace(agent, env={}), "hello", login=login).stdout
    finally:
        model.sandbox.exec(["rm", ENV_FILE])


@pytest.mark.parametrize("agent", AGENTS, ids=lambda a: a.name)
def test_it_works_in_the_repository_and_leaves_it_clean(model: Model, agent: Agent) -> None:
    sandbox = model.sandbox
    status = ["git", "status", "--porcelain"]
    original_status = sandbox.exec(status, cwd=project.REPO).stdout
    result = sandbox.login(
        f"{agent.command} 'look around'", cwd=project.REPO, env=dict(agent.env), timeout=90
    )
    assert model.answer in result.stdout
    assert sandbox.exec(status, cwd=project.REPO).stdout == original_status


def test_none_has_updated_itself(model: Model) -> None:
    """After they ran, not only when they were installed."""
    pins = model.sandbox.read_json(project.BUILD_INFO)["pins"]
    for tool in (tool for tool in TOOLS if tool.agent):
        output = model.sandbox.login(f"{tool.command} --version").stdout
        assert pins[tool.pin] in output.split()
    assert model.sandbox.exec("ls ~/.local/bin ~/.claude/local 2>/dev/null; true").stdout == ""


def test_a_fault_of_the_model_is_told(model: Model) -> None:
    """Nobody answers: the agent fails instead of making something up."""
    agent = AGENTS[2]
    broken = {"providers": {"stand-in": {**PI["providers"]["stand-in"], "baseUrl": f"{URL}/none"}}}
    folder = f"{project.HOME}/.pi/agent"
    model.sandbox.write(f"{folder}/models.json", json.dumps(broken).encode())
    try:
        result = model.sandbox.exec(
            f"{agent.command} 'hello'", cwd=ELSEWHERE, timeout=90, check=False
        )
        assert model.answer not in result.stdout
    finally:
        model.sandbox.write(f"{folder}/models.json", json.dumps(PI).encode())


def strings(value: Any) -> str:
    """All text in a request, as it reads: JSON's escapes would hide a phrase."""
    if isinstance(value, dict):
        return "\n".join(strings(v) for v in value.values())
    if isinstance(value, list):
        return "\n".join(strings(v) for v in value)
    return str(value)
