"""What a new provider has to bring, and that one row of a table is enough to make it known."""

from __future__ import annotations

import inspect
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import pytest

from tasks.base import project
from tasks.base.errors import BadInput
from tasks.commands import reap
from tasks.sandbox import providers
from tasks.sandbox.errors import ExecFailed, NotOffered, SandboxEnded
from tasks.sandbox.ownership import Ownership
from tasks.sandbox.provider import Provider
from tasks.sandbox.sandbox import Sandbox
from tasks.sandbox.values import CAPABILITY_METHODS, Capability, Spec
from tests.unit.sandbox.example_provider import MemoryProvider

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = "tests.unit.sandbox.example_provider:MemoryProvider"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "state_dir", lambda: tmp_path)


@pytest.fixture
def memory_row(monkeypatch: pytest.MonkeyPatch) -> None:
    row = replace(providers.PROVIDERS[providers.DEFAULT], provider=EXAMPLE)
    monkeypatch.setitem(providers.PROVIDERS, "memory", row)


def test_a_provider_implements_a_handful_of_methods() -> None:
    assert Provider.__abstractmethods__ == {"connect", "create_sandbox", "belongings", "remove"}
    assert Sandbox.__abstractmethods__ == {
        *("start", "stop", "delete", "end_reason", "run_inside", "url", "how_to_reach"),
    }


@pytest.mark.usefixtures("memory_row")
def test_a_third_provider_is_known_by_its_row() -> None:
    run = Ownership("memory")
    with providers.connect("memory") as provider:
        provider.check("any image")
        sandbox = provider.create(Spec(purpose="example"), run)
        with pytest.raises(SandboxEnded):
            sandbox.exec(["true"])
        sandbox.start()
        assert sandbox.exec("echo $0 works").stdout == "bash works\n"
        with pytest.raises(ExecFailed):
            sandbox.exec(["false"])
        assert [belonging.run for belonging in provider.belongings()] == [run.id]
        assert run.id in sandbox.how_to_delete()
        sandbox.delete()
        sandbox.delete()
        assert provider.belongings() == []


@pytest.mark.usefixtures("memory_row")
def test_reap_works_on_a_third_provider(capsys: pytest.CaptureFixture[str]) -> None:
    reap.main(["--provider", "memory"])
    assert "nothing to delete" in capsys.readouterr().err


def test_an_unknown_provider_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(BadInput, match="no provider `podman` → one of: docker, daytona"):
        providers.connect("podman")


def test_each_provider_of_the_table_can_be_loaded() -> None:
    for name, entry in providers.PROVIDERS.items():
        assert entry.load().name == name


@pytest.mark.parametrize("capability", get_args(Capability))
def test_a_capability_that_is_not_offered_says_so(capability: Capability) -> None:
    provider = MemoryProvider()
    provider.not_offered = {capability: "it is an example"}
    with pytest.raises(NotOffered, match=f"memory sandboxes do not offer {capability}: it is an"):
        provider.require(capability)
    if method := CAPABILITY_METHODS.get(capability):
        sandbox = MemoryProvider().create(Spec(), Ownership("memory"))
        with pytest.raises(NotOffered, match=capability):
            getattr(sandbox, method)()


def test_a_provider_refuses_what_a_sandbox_would_need(tmp_path: Path) -> None:
    provider = MemoryProvider()
    provider.not_offered = dict.fromkeys(get_args(Capability), "it is an example")
    for spec, capability in (
        (Spec(checkout=tmp_path), "local_mode"),
        (Spec(under_init=True), "init_control"),
        (Spec(ports={3000: 3000}), "host_ports"),
    ):
        with pytest.raises(NotOffered, match=capability):
            provider.create(spec, Ownership("memory"))
    assert provider.belongings() == []


def test_providers_offer_every_method_of_their_capabilities() -> None:
    for entry in providers.PROVIDERS.values():
        provider = entry.load()
        module = inspect.getmodule(provider)
        assert module is not None
        (sandbox_class,) = (
            value
            for value in vars(module).values()
            if inspect.isclass(value) and issubclass(value, Sandbox) and value is not Sandbox
        )
        for capability, method in CAPABILITY_METHODS.items():
            is_implemented = method in vars(sandbox_class)
            assert is_implemented is (capability not in provider.not_offered), (provider, method)


def test_only_the_table_names_a_provider() -> None:
    """Code that asks which provider it has would have to change for each new one."""
    for name in providers.PROVIDERS:
        command = ["git", "grep", "-nE", f"provider(\\.name)? *[!=]= *.{name}.", "--", "tasks"]
        result = subprocess.run(
            command, cwd=project.ROOT, check=False, capture_output=True, text=True
        )
        assert result.stdout == ""
