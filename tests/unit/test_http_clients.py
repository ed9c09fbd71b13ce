"""Every client of the outside, on a machine that reaches nothing but a company's proxy: the proxy
wants a password and shows certificates of a private authority.
"""

from __future__ import annotations

import ast
import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from tasks.base import project
from tasks.bump.registries import npm_config, pip_config
from tasks.bump.registries.client import RegistryClient
from tasks.github import rest
from tasks.sandbox import readiness
from tests.support import forward_proxy
from tests.support.loopback import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.forward_proxy import Network

NETWORK_VARIABLES: Final = {
    *("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SANDBOX_CA_BUNDLE"),
    *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"),
}


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    for name in NETWORK_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with forward_proxy.network(tmp_path) as company:
        for name, value in company.environment.items():
            monkeypatch.setenv(name, value)
        yield company


def answer_json(value: Any) -> Callable[[Request], Answer]:
    body = json.dumps(value).encode()
    return lambda _: Answer(body, headers={"Content-Type": "application/json"})


def test_github_is_asked_through_the_proxy(network: Network) -> None:
    network.serve("api.github.example", answer_json({"full_name": "a/b"}))
    access = rest.GitHubAccess(
        token="ghs_x", repository="a/b", api_url="https://api.github.example"
    )
    assert rest.GitHubApi(access).get("looking", "{repo}") == {"full_name": "a/b"}
    assert [r.headers["Authorization"] for r in network.requests_to("api.github.example")] == [
        "Bearer ghs_x"
    ]


def test_npm_registry_is_asked_through_the_proxy(network: Network, tmp_path: Path) -> None:
    network.serve("npm.example", answer_json({}))
    access = npm_config.npm_access({"registry": "https://npm.example"}, "bun", root=tmp_path)
    assert RegistryClient(access).get("bun", accept="*/*", package="bun").body == b"{}"
    assert len(network.requests_to("npm.example")) == 1


def test_npm_settings_take_precedence_over_the_environment(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network.serve("npm.example", answer_json({}))
    settings = {
        "registry": "https://npm.example",
        "https-proxy": network.environment["HTTPS_PROXY"],
        "cafile": str(network.bundle),
    }
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("SANDBOX_CA_BUNDLE", "")
    access = npm_config.npm_access(settings, "bun", root=tmp_path)
    assert RegistryClient(access).get("bun", accept="*/*", package="bun").body == b"{}"


def test_python_index_is_asked_through_the_proxy(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    network.serve("pypi.example", answer_json({}))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "https://u:secret@pypi.example/simple")
    for name in ("PIP_CERT", "PIP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    access = pip_config.pip_access()
    assert RegistryClient(access).get("uv/", accept="*/*", package="uv").body == b"{}"
    [request] = network.requests_to("pypi.example")
    assert request.headers["Authorization"].startswith("Basic ")


class PreviewedSandbox:
    """A sandbox that is reached by a preview's address."""

    name = "previewed"
    is_up = False

    def end_reason(self) -> str | None:
        return None

    def url(self, port: int) -> str:
        return f"https://{port}-x.preview.example"

    def headers(self, port: int) -> dict[str, str]:
        return {"X-Daytona-Preview-Token": f"token-{port}"}

    def console(self, *, tail: int | None = None) -> str:  # noqa: ARG002
        return ""


def test_readiness_of_a_preview_is_asked_through_the_proxy(network: Network) -> None:
    host = f"{project.DAEMON_PORT}-x.preview.example"
    network.serve(host, answer_json({"status": "ready"}))
    sandbox: Any = PreviewedSandbox()
    assert readiness.wait_until_ready(sandbox, timeout=20) == {"status": "ready"}
    [request] = network.requests_to(host)
    assert request.path == "/readyz"
    assert request.headers["X-Daytona-Preview-Token"] == f"token-{project.DAEMON_PORT}"


def test_no_secret_reaches_another_host_by_a_redirect(network: Network, tmp_path: Path) -> None:
    redirect = Answer(status=302, headers={"Location": "https://elsewhere.example/"})
    network.serve("elsewhere.example", answer_json({}))
    for host in ("api.github.example", "npm.example"):
        network.serve(host, lambda _: redirect)
    access = rest.GitHubAccess(
        token="ghs_x", repository="a/b", api_url="https://api.github.example"
    )
    (tmp_path / ".npmrc").write_text("//npm.example/:_auth" + "Token=npm_x\n")
    registry = npm_config.npm_access({"registry": "https://npm.example"}, "bun", root=tmp_path)
    for ask in (
        lambda: rest.GitHubApi(access).get("looking", "{repo}"),
        lambda: RegistryClient(registry).get("bun", accept="*/*", package="bun"),
    ):
        with pytest.raises(Exception, match="redirects to another place, elsewhere"):
            ask()
    assert network.requests_to("elsewhere.example") == []


# ── nobody goes another way ─────────────────────────────────────────────────────────────────

#: Modules that speak HTTP, and calls that would open a connection past the seam.
LIBRARIES: Final = {"httpx", "requests", "urllib3", "aiohttp", "urllib.request", "http.client"}
#: Those that may: the seam, and the Docker Engine, which is not the outside.
SPEAKERS: Final = {
    "tasks/base/transport.py": {"urllib3", "http.client"},
    "tasks/sandbox/providers/docker_errors.py": {"requests"},
    "tasks/engine/transport.py": {"http.client"},
}


def test_no_other_module_speaks_http() -> None:
    offenders = set()
    for path in (project.ROOT / "tasks").rglob("*.py"):
        name = path.relative_to(project.ROOT).as_posix()
        libraries = {
            library
            for module in imported(path)
            for library in LIBRARIES
            if module == library or module.startswith(f"{library}.")
        }
        offenders |= {(name, library) for library in libraries - SPEAKERS.get(name, set())}
    assert offenders == set()


def imported(path: Path) -> set[str]:
    """Modules that are imported when the program runs; those for types alone are not."""
    modules: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        waiting += ast.iter_child_nodes(node)
    return modules
