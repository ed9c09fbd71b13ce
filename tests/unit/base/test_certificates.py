from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tasks.base import certificates
from tasks.base.errors import BadInput

if TYPE_CHECKING:
    from pathlib import Path

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "bundle.pem"
    path.write_text(PEM)
    return path


def test_our_variable_takes_precedence(bundle: Path, tmp_path: Path) -> None:
    other_bundle = tmp_path / "other.pem"
    other_bundle.write_text(PEM)
    environment = {"SANDBOX_CA_BUNDLE": str(bundle), "SSL_CERT_FILE": str(other_bundle)}
    assert certificates.find_ca_bundle(environment) == bundle


@pytest.mark.parametrize("name", ["missing.pem", "."])
def test_our_variable_must_name_a_readable_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="SANDBOX_CA_BUNDLE"):
        certificates.find_ca_bundle({"SANDBOX_CA_BUNDLE": str(tmp_path / name)})


def test_a_file_that_is_not_pem_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("hello")
    with pytest.raises(BadInput):
        certificates.find_ca_bundle({"SANDBOX_CA_BUNDLE": str(tmp_path / "x")})


def test_an_empty_variable_means_no_bundle(bundle: Path) -> None:
    assert (
        certificates.find_ca_bundle({"SANDBOX_CA_BUNDLE": "", "SSL_CERT_FILE": str(bundle)}) is None
    )


def test_variables_of_other_tools_are_tried_in_order_and_missing_files_skipped(
    bundle: Path, tmp_path: Path
) -> None:
    environment = {
        "SSL_CERT_FILE": str(tmp_path / "missing"),
        "REQUESTS_CA_BUNDLE": "",
        "NODE_EXTRA_CA_CERTS": str(bundle),
    }
    assert certificates.find_with_reason(environment) == (bundle, "NODE_EXTRA_CA_CERTS")


def test_the_system_bundle_is_used_when_an_administrator_has_added_to_it(
    bundle: Path, tmp_path: Path
) -> None:
    anchors = tmp_path / "anchors"
    anchors.mkdir()
    system = ((str(anchors), str(bundle)),)
    assert certificates.find_with_reason({}, system)[0] is None
    (anchors / "proxy.crt").write_text(PEM)
    assert certificates.find_with_reason({}, system)[0] == bundle
