"""What npm and pip are configured for is what is asked, and how."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from tasks.base.errors import BadInput
from tasks.base.transport import Tls
from tasks.bump import lock_files
from tasks.bump.pins import find_pin
from tasks.bump.registries import npm_config, npm_program, pip_config, pypi
from tasks.bump.registries.client import PackageRegistryAccess, RegistryClient
from tasks.bump.registries.model import SourceError
from tasks.bump.registries.package_registries import PackageRegistries
from tests.support import package_registry
from tests.support.loopback import Answer

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://corp.example/npm/team/"


@pytest.mark.parametrize(("lines", "values"), [
    ([("//corp.example/npm/team/:_authToken", "a")], {"_authToken": "a"}),
    ([("//corp.example/:_authToken", "a")], {"_authToken": "a"}),
    ([("//corp.example/:_authToken", "a"), ("//corp.example/npm/:_authToken", "b")],
     {"_authToken": "b"}),
    ([("//corp.example/:_authToken", "mine"), ("//corp.example/:_authToken", "global")],
     {"_authToken": "mine"}),
    ([("//other.example/:_authToken", "a"), ("_authToken", "old")], {}),
    ([("//corp.example/npm/teams/:_authToken", "a")], {}),
    ([("//corp.example/:username", "u"), ("//corp.example/:_password", "cA==")],
     {"username": "u", "_password": "cA=="}),
])  # fmt: skip
def test_credentials_are_sent_to_their_own_path_only(
    lines: list[tuple[str, str]], values: dict[str, str]
) -> None:
    assert npm_config.find_credentials(URL, lines) == values


def test_every_form_of_npms_credentials_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NPM_SECRET", "s3cret")
    for line, header in {
        ":_authToken=${NPM_SECRET}": "Bearer s3cret",
        ":_auth=dTpw": "Basic dTpw",
        ":username=u\n//corp.example/:_password=" + base64.b64encode(b"p").decode(): "Basic dTpw",
    }.items():
        (tmp_path / ".npmrc").write_text(f"; a comment\n//corp.example/{line}\n")
        access = npm_config.npm_access({"registry": URL}, "bun", root=tmp_path)
        assert access.headers == {"Authorization": header}
        assert "s3cret" not in repr(access)


@pytest.mark.parametrize(("settings", "environment", "proxy"), [
    ({"https-proxy": "http://p:1"}, {}, "http://p:1"),
    ({"proxy": "http://p:1"}, {}, "http://p:1"),
    ({"https-proxy": "http://p:1", "noproxy": ["corp.example"]}, {}, ""),
    ({"https-proxy": "http://p:1", "noproxy": ".example,x"}, {}, ""),
    ({"https-proxy": "http://p:1", "noproxy": ["orp.example"]}, {}, "http://p:1"),
    ({}, {"https_proxy": "http://q:2"}, "http://q:2"),
    ({}, {"https_proxy": "http://q:2", "no_proxy": "corp.example"}, ""),
    ({}, {}, ""),
])  # fmt: skip
def test_the_proxy_comes_from_npm_or_the_environment(
    settings: dict[str, object],
    environment: dict[str, str],
    proxy: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    access = npm_config.npm_access({"registry": URL, **settings}, "bun", root=tmp_path)
    assert (access.proxy.url if access.proxy else "") == proxy


def test_a_registry_without_a_web_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="the registry's address is"):
        npm_config.npm_access({"registry": "file:///etc"}, "bun", root=tmp_path)


def test_pips_variables_take_precedence_over_its_files(tmp_path: Path) -> None:
    file = tmp_path / "pip.conf"
    file.write_text("[global]\nindex_url = https://a.example/simple\nproxy=http://p:1\n"
                    "[install]\nindex-url = https://b.example/simple\n")  # fmt: skip
    settings = pip_config.pip_settings({"PIP_CONFIG_FILE": str(file), "HOME": str(tmp_path)})
    assert settings["index-url"] == "https://b.example/simple"
    assert settings["proxy"] == "http://p:1"
    variables = {"PIP_CONFIG_FILE": str(file), "PIP_INDEX_URL": "https://c.example/simple"}
    assert pip_config.pip_settings(variables)["index-url"] == "https://c.example/simple"
    file.write_text("not = a section\n")
    with pytest.raises(BadInput, match="pip's configuration"):
        pip_config.pip_settings({"PIP_CONFIG_FILE": str(file)})


def test_credentials_are_taken_out_of_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://u:p%40@corp.example/simple")
    access = pip_config.pip_access()
    assert access.url == "https://corp.example/simple/"
    assert access.headers["Authorization"] == "Basic " + base64.b64encode(b"u:p@").decode()


def test_an_unreadable_bundle_is_refused() -> None:
    with pytest.raises(BadInput, match="certificates"):
        RegistryClient(
            PackageRegistryAccess("https://corp.example/", {}, tls=Tls(bundle="/nowhere.pem"))
        )


@pytest.mark.parametrize("answer", [
    Answer(b"{}", after=3.0), Answer(b" " * 1000, drip=0.05, length=1_000_000),
], ids=["silent", "dripping"])  # fmt: skip
def test_slow_answers_end_at_the_deadline(answer: Answer) -> None:
    with package_registry.serving() as registry:
        registry.answers["/bun"] = answer
        client = RegistryClient(PackageRegistryAccess(registry.url, {}))
        with pytest.raises(SourceError, match="did not answer"):
            client.get("bun", accept="*/*", package="bun", deadline=0.3)


WHEEL = "uv-1.0.0-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"


@pytest.mark.parametrize(("file", "is_read"), [
    ({}, True),
    ({"yanked": "broken"}, True),
    ({"hashes": {}}, True),
    ({"hashes": {"sha256": "A" * 64}}, True),
    ({"filename": "uv-1.0.0.tar.gz"}, False),
    ({"filename": "uv-1.0.0-py3-none-win_amd64.whl"}, False),
    ({"filename": "uv-1.0.0-py3-none-musllinux_1_1_x86_64.whl"}, False),
    ({"filename": "evil-1.0.0-py3-none-linux_x86_64.whl"}, False),
    ({"filename": "uv-1.0.0\nRUN-py3-none-linux_x86_64.whl"}, False),
    ({"filename": 7}, False),
])  # fmt: skip
def test_only_wheels_for_linux_are_read(file: dict[str, object], is_read: bool) -> None:
    base = {
        "filename": WHEEL,
        "hashes": {"sha256": "0" * 64},
        "upload-time": "2026-01-01T00:00:00Z",
    }
    body = json.dumps({"name": "uv", "files": [base | file, 7]}).encode()
    if not is_read:
        with pytest.raises(SourceError, match="no wheels for Linux"):
            pypi.parse(body, "uv")
        return
    release = pypi.parse(body, "uv").releases["1.0.0"]
    assert bool(release.integrity) == ("hashes" not in file)
    assert release.deprecated == ("yanked: broken" if "yanked" in file else "")


@pytest.mark.parametrize(("output", "reason"), [
    ("npm error notarget No matching version found for @a/b@1.5.2.\nnpm error A complete log",
     "it needs @a/b@1.5.2, which"),
    ("npm error notarget No matching version found for x@^1 with a date before 1/1/2026.",
     "it needs x@^1, which"),
    ("npm error 404  'lost@^1.0.0' is not in this registry.", "it needs lost@^1.0.0, which"),
    ("npm error 404  The requested resource 'lost@1' could not be found", "it needs lost@1, which"),
    ("npm error code EOOPS\nnpm error GET https://u:p@h/x failed", "GET (address) failed"),
    ("", "npm gives no reason"),
])  # fmt: skip
def test_npms_error_is_told_in_one_line(output: str, reason: str) -> None:
    assert reason in lock_files.explain_npm(output)
    assert "u:p" not in lock_files.explain_npm(output)


@pytest.mark.parametrize("address", [
    "file:///etc", "htps://u:pa55word@h/", "http://[::1", "https://", "http://h:port/", "", "x",
])  # fmt: skip
def test_no_address_is_quoted_with_its_password(tmp_path: Path, address: str) -> None:
    with pytest.raises(BadInput, match="the registry's address is") as error:
        npm_config.npm_access({"registry": address}, "bun", root=tmp_path)
    assert "pa55word" not in str(error.value)


@pytest.mark.parametrize("date", [
    "Mon, 23 Nov 2026 10:00:00 -0000", "Mon, 99 Nov 2026 10:00:00 GMT", "yesterday", "", "0",
    "Mon, 23 Nov 0001 10:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 -2359",
    "Mon, 23 Nov 99999999999 10:00:00 GMT",
])  # fmt: skip
def test_a_date_header_that_makes_no_sense_is_ignored(date: str, tmp_path: Path) -> None:
    with package_registry.serving() as server:
        server.date = date
        server.npm("bun", {"1.0.0": {}})
        registries = PackageRegistries(tmp_path, {"registry": server.url})
        registries.package(find_pin("bun"))
        _, clock = registries.clock()
        registries.close()
    assert clock == "this machine's clock, since the registries send no time"


@pytest.mark.parametrize("name", ["../x", "a/b", "@a/../b", "", "http://x", "a" * 215, "é", "a b"])
def test_nothing_but_a_packages_name_gets_into_an_address(name: str, tmp_path: Path) -> None:
    with package_registry.serving() as server:
        registries = PackageRegistries(tmp_path, {"registry": server.url})
        assert registries.npm_versions(name) == frozenset()
        assert server.requests == []


def test_npm_trusts_our_bundle_beside_its_own(tmp_path: Path) -> None:
    bundle = tmp_path / "company.pem"
    bundle.write_text("-----BEGIN CERTIFICATE-----\n")
    environment = {"SANDBOX_CA_BUNDLE": str(bundle), "NODE_EXTRA_CA_CERTS": "/other.pem"}
    assert npm_program.npm_environment(environment) == {"NODE_EXTRA_CA_CERTS": str(bundle)}
    assert npm_program.npm_environment({"NODE_EXTRA_CA_CERTS": "/other.pem"}) == {}
