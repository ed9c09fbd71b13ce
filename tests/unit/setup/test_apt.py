from __future__ import annotations

import pytest

from tasks.setup import apt
from tasks.setup.system import System

BOOKWORM = System("debian", "Debian GNU/Linux 12 (bookworm)", "12", "bookworm", root=True)
TARGETS = """\
http://third.example/apt/|nodistro|||
http://docker.example/debian/|bookworm|bookworm|stable|Docker
cdrom:[Debian 12]/|bookworm|bookworm|main|Debian
http://mirror.example/debian/|bookworm|bookworm|main|Debian
http://mirror.example/debian/|bookworm|bookworm|contrib|Debian
http://mirror.example/debian/|bookworm-updates|bookworm-updates|main|Debian
http://security.example/debian-security/|bookworm-security|bookworm-security|main|Debian
a line without fields
"""


def test_the_mirror_is_debians_own_among_all_lists() -> None:
    mirror = apt.debian_mirror(apt.parse_package_lists(TARGETS), "bookworm")
    assert mirror == apt.Mirror(
        "http://mirror.example/debian/", "http://security.example/debian-security/", updates=True
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://mirror.example/debian/|bookworm|||",  # lists were never fetched
        "http://mirror.example/ubuntu/|jammy|jammy|main|Ubuntu",
        "cdrom:[Debian 12]/|bookworm|bookworm|main|Debian",
    ],
)
def test_lists_without_debian_have_no_mirror(text: str) -> None:
    assert apt.debian_mirror(apt.parse_package_lists(text), "bookworm") is None


def test_source_lines_name_only_what_the_mirror_has() -> None:
    assert apt.source_lines(apt.Mirror("http://m/debian/"), "trixie") == [
        "deb http://m/debian/ trixie main"
    ]
    assert apt.source_lines(apt.Mirror("http://m/d/", "http://s/", updates=True), "trixie") == [
        "deb http://m/d/ trixie main",
        "deb http://m/d/ trixie-updates main",
        "deb http://s/ trixie-security main",
    ]


def test_the_first_line_of_a_file_of_mirrors_is_taken(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path_factory.mktemp("m") / "debian.list"
    path.write_text("# comment\nhttps://first.example/debian priority:1\nhttps://second.example\n")
    package_list = apt.PackageList(f"mirror+file:{path}", "bookworm", "bookworm", "main", "Debian")
    monkeypatch.setattr(apt, "_package_lists", lambda: [package_list])
    assert apt.mirror_of(BOOKWORM) == apt.Mirror("https://first.example/debian")


POLICY = """\
docker.io:
  Installed: (none)
  Candidate: 20.10.24+dfsg1-1+deb12u1+b6
  Version table:
     20.10.24+dfsg1-1+deb12u1+b6 500
        500 http://mirror.example/debian bookworm/main amd64 Packages
docker-buildx:
  Installed: (none)
  Candidate: (none)
  Version table:
docker-cli:
  Installed: 26.1.5
  Candidate: 5:26.1.5+dfsg1-9
  Version table:
"""


def test_parse_policy_reads_candidates() -> None:
    versions = apt.parse_policy(POLICY)
    assert versions == {
        "docker.io": "20.10.24+dfsg1-1+deb12u1+b6",
        "docker-cli": "5:26.1.5+dfsg1-9",
    }
    assert apt.upstream(versions["docker-cli"]) == (26, 1, 5)


@pytest.mark.parametrize(
    ("system", "available", "expected"),
    [
        (BOOKWORM, {}, True),
        (BOOKWORM, {"docker.io": "20.10.24+dfsg1-1"}, True),
        (BOOKWORM, {"docker.io": "26.1.5"}, True),  # no buildx
        (BOOKWORM, {"docker.io": "26.1.5", "docker-buildx": "0.13.1"}, False),
        (System("debian", "13", "13", "trixie"), {"docker.io": "20.10"}, False),
        (System("ubuntu", "20.04", "20.04", "focal"), {"docker.io": "20.10"}, False),
    ],
)
def test_debian_13s_engine_is_taken_on_debian_12_only(
    system: System, available: dict[str, str], expected: bool
) -> None:
    assert apt.needs_newer(system, available) is expected


def test_preferences_allow_only_the_engine() -> None:
    text = apt.newer_preferences(only_engine=True)
    general, engine = text.strip().split("\n\n")
    assert general.startswith("Package: *\n")
    assert general.endswith("Pin-Priority: 1")
    assert "runc" not in engine
    assert "tini" not in engine
    # Where the user has Debian 13's packages already, how they rank is the user's own choice.
    assert apt.newer_preferences(only_engine=False).strip() == engine


def test_the_added_source_is_the_hosts_mirror() -> None:
    lines = apt.newer_source(apt.Mirror("http://mirror.example/debian/")).splitlines()
    assert "URIs: http://mirror.example/debian/" in lines
    assert "Suites: trixie" in lines
