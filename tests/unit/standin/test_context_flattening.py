from __future__ import annotations

import io
import tarfile

import pytest
from daytona_standin.context_flattening import EmptyContext, flatten


def archive(*members: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]) -> io.BytesIO:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for member in members:
            info, data = member if isinstance(member, tuple) else (member, b"")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    content.seek(0)
    return content


def info(
    name: str, kind: bytes = tarfile.REGTYPE, mode: int = 0o644, link: str = ""
) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.linkname = kind, mode, link
    member.uid = member.gid = 1000
    member.mtime = 1_700_000_000
    return member


def flatten_and_list(dockerfile: str, *contexts: io.BytesIO) -> list[tuple[tarfile.TarInfo, bytes]]:
    out = io.BytesIO()
    flatten(dockerfile, [(str(i), c) for i, c in enumerate(contexts)], out)
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        entries = []
        for member in tar:
            data = tar.extractfile(member)
            entries.append((member, data.read() if data else b""))
        return entries


def test_every_member_becomes_a_regular_file() -> None:
    entries = flatten_and_list(
        "FROM x\n",
        archive(
            info("d", tarfile.DIRTYPE, 0o755),
            (info("d/run", mode=0o4755), b"data"),
            info("link", tarfile.SYMTYPE, 0o777, "d/run"),
            info("second", tarfile.LNKTYPE, 0o644, "d/run"),
            info("pipe", tarfile.FIFOTYPE),
        ),
    )
    assert [(m.name, m.mode, data) for m, data in entries] == [
        ("Dockerfile", 0o644, b"FROM x\n"),
        ("d/run", 0o4755, b"data"),
        ("link", 0o777, b""),
        ("second", 0o644, b""),
        ("pipe", 0o644, b""),
    ]
    assert all(m.isreg() and (m.uid, m.gid, m.mtime) == (0, 0, 0) for m, _ in entries)


def test_a_dockerfile_in_a_context_comes_last() -> None:
    entries = flatten_and_list("FROM sent\n", archive((info("Dockerfile"), b"FROM context\n")))
    assert [data for m, data in entries if m.name == "Dockerfile"] == [
        b"FROM sent\n",
        b"FROM context\n",
    ]


def test_contexts_keep_their_order() -> None:
    entries = flatten_and_list("F", archive((info("a"), b"1")), archive((info("a"), b"2")))
    assert [(m.name, data) for m, data in entries[1:]] == [("a", b"1"), ("a", b"2")]


def test_a_corrupt_archive_is_cut_off_with_a_warning() -> None:
    content = archive((info("a"), b"1"), (info("b"), b"x" * 2000)).getvalue()
    warnings: list[str] = []
    out = io.BytesIO()
    cut = io.BytesIO(content[:1800])
    flatten("F", [("h", cut)], out, warn=warnings.append)
    assert warnings
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        assert tar.getnames()[:2] == ["Dockerfile", "a"]


@pytest.mark.parametrize("earlier", [0, 1])
def test_an_empty_object_is_an_error(earlier: int) -> None:
    contexts = [("ok", archive((info("a"), b"1")))] * earlier + [("h", io.BytesIO())]
    with pytest.raises(EmptyContext):
        flatten("F", contexts, io.BytesIO())


def test_unusual_names_are_kept() -> None:
    names = ["/abs", "../up", "ü\n", "n" * 300]
    entries = flatten_and_list("F", archive(*((info(name), b"1") for name in names)))
    assert [m.name for m, _ in entries[1:]] == names
