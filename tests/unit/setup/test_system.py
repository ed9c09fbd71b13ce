from __future__ import annotations

import pytest

from tasks.setup import system


@pytest.mark.parametrize(
    ("release", "family"),
    [
        ({"ID": "debian", "VERSION_CODENAME": "bookworm"}, "debian"),
        ({"ID": "ubuntu", "ID_LIKE": "debian"}, "ubuntu"),
        ({"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}, "ubuntu"),
        ({"ID": "raspbian", "ID_LIKE": "debian"}, "debian"),
        ({"ID": "fedora"}, "fedora"),
        ({"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, "fedora"),
        ({"ID": "opensuse-leap", "ID_LIKE": "suse opensuse"}, "suse"),
        ({"ID": "nixos"}, "other"),
        ({}, "other"),
    ],
)
def test_the_family_comes_from_os_release(release: dict[str, str], family: str) -> None:
    detected_system = system.from_os_release(release, systemd=False, root=True)
    assert detected_system.family == family
    assert detected_system.has_apt is (family in {"debian", "ubuntu"})
    assert detected_system.name
