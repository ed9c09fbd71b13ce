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


def test_our_variable_wins(bundle: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_text(PEM)
    environment = {"SANDBOX_CA_BUNDLE": str(bundle), "SSL_CERT_FILE": str(other)}
    assert certificates.find_ca_bundle(environment) == bundle


@pytest.mark.parametrize("name", ["missing.pem", "."])
def test_our_variable_must_be_right(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="SANDBOX_CA_BUNDLE"):
        certificates.find_ca_bundle({"SANDBOX_CA_BUNDLE": str(tmp_path / name)})


def test_a_file_that_is_no_pem(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("hello")
    with pytest.raises(BadInput):
        certificates.find_ca_bundle({"SANDBOX_CA_BUNDLE": str(tmp_path / "x")})


def test_empty_means_none(bundle: Path) -> None:
    assert (
        certificates.find_ca_bundle({"SANDBOX_CA_BUNDLE": "", "SSL_CERT_FILE": str(bundle)}) is None
    )


def test_others_are_tried_in_order_and_a_missing_file_is_passed_over(
    bundle: Path, tmp_path: Path
) -> None:
    environment = {
        "SSL_CERT_FILE": str(tmp_path / "missing"),
        "REQUESTS_CA_BUNDLE": "",
        "NODE_EXTRA_CA_CERTS": str(bundle),
    }
    assert certificates.find_with_reason(environment) == (bundle, "NODE_EXTRA_CA_CERTS")


def test_the_system_bundle_only_when_something_was_added(bundle: Path, tmp_path: Path) -> None:
    added = tmp_path / "added"
    added.mkdir()
    system = ((str(added), str(bundle)),)
    assert certificates.find_with_reason({}, system)[0] is None
    (added / "proxy.crt").write_text(PEM)
    assert certificates.find_with_reason({}, system)[0] == bundle
