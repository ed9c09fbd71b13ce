"""From a ref to a verified snapshot at Daytona, by either of two roads.

remote: the context goes up in parts, Daytona builds. No local engine is needed.
push:   the image is built here and tested here; its very layers go to Daytona's registry.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from tasks import git
from tasks.base import certificates, console
from tasks.base.project import DOCKERFILE, ROOT, state_dir
from tasks.build import dockerfile, image, parts, source
from tasks.build.image import BUILD_ARGS
from tasks.daytona import snapshot, upload
from tasks.daytona.publish import DEADLINE, Publisher, Wanted
from tasks.git import commits, object_cache, refs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tasks.build.image import Image
    from tasks.build.source import Source
    from tasks.daytona.adapter import Daytona
    from tasks.daytona.publish import Published
    from tasks.daytona.snapshot import Name, Snapshot
    from tasks.daytona.upload import Uploaded
    from tasks.engine.engine import Engine

Via = Literal["remote", "push"]

#: What a sandbox of ours gets: agents build and test in it. Daytona's defaults are 1, 1 and 3, its
#: usual limits 4, 8 and 10; a sandbox made from a snapshot cannot have other figures.
RESOURCES: Final = {"cpu": 2, "memory": 4, "disk": 10}


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be published, resolved: nothing of it changes any more."""

    repo: git.Repo
    source: Source
    ref: str
    stage: str
    committed: float
    pins: Mapping[str, str]
    changes: int
    via: Via = "remote"
    name: str | None = None
    force: bool = False
    timeout: float = DEADLINE
    rebuild: str = field(default="")

    @property
    def wanted_name(self) -> str:
        return self.name or str(self.generated_name)

    @property
    def generated_name(self) -> Name:
        return snapshot.name_for(
            stage=self.stage,
            committed=self.committed,
            identity=self.source.identity,
            rebuild=self.rebuild,
        )

    @property
    def again(self) -> str:
        named = f" --name {self.name}" if self.name else ""
        via = f" --via {self.via}" if self.via != "remote" else ""
        return (
            f"nox -s snapshot_daytona -- --ref {self.source.sha} --stage {self.stage}{via}{named}"
        )


@dataclass(kw_only=True)
class Shipped:
    published: Published
    #: None when nothing had to be uploaded.
    uploaded: Uploaded | None = None
    packed: parts.Packed | None = None
    digest: str = ""

    def record(self) -> dict[str, Any]:
        sent = self.uploaded
        return {
            "snapshot_name": self.published.snapshot.name,
            "snapshot_id": self.published.snapshot.id,
            "state": self.published.snapshot.state,
            "reused": self.published.how in {"reused", "activated"},
            "how": self.published.how,
            "log": str(self.published.log) if self.published.log else None,
            "upload": None
            if sent is None
            else {
                "parts": sent.parts,
                "parts_reused": sent.reused,
                "bytes": sent.total,
                "bytes_sent": sent.sent,
                "seconds": round(sent.seconds, 2),
            },
            "digest": self.digest or None,
        }


def order(
    *,
    ref: str | None,
    environment: Mapping[str, str],
    stage: str,
    via: Via = "remote",
    name: str | None = None,
    force: bool = False,
    timeout: float = DEADLINE,
) -> Order:
    """Resolve what the user asked for. Raises `BadInput`; asks nobody and changes nothing."""
    if name is not None:
        snapshot.check_name(name)
    repo = git.open_repo(ROOT)
    _head, branch = git.head(repo)
    choice = refs.choose(ref, environment, branch)
    resolved = refs.resolve(repo, choice.ref)
    found = source.from_ref(repo, resolved, build_args=BUILD_ARGS)
    console.step(f"source: {resolved.describe()}, from {choice.said_by}")
    changes = repo.count_changes()
    if changes:
        console.warn(f"{changes} uncommitted changes are not in it: a ref is published")
    for note in found.tree.all_notes():
        console.warn(note)
    return Order(
        repo=repo,
        source=found,
        ref=choice.ref,
        stage=stage,
        committed=float(commits.read(repo, found.sha).committed),
        pins=dockerfile.pins(repo.git("cat-file", "blob", f"{found.sha}:{DOCKERFILE}").decode()),
        changes=changes,
        via=via,
        name=name,
        force=force,
        timeout=timeout,
        rebuild=_base36(int(time.time())) if force and not name else "",
    )


def pack(wanted: Order) -> parts.Packed:
    """The context's parts, with what is in them said."""
    packed = parts.pack(wanted.source, object_cache.folder())
    console.step(
        f"context: {packed.report.files} files, {console.size(packed.report.file_bytes)};"
        f" {len(packed.parts)} parts, {console.size(packed.bytes)}"
    )
    for note in packed.report.notes[len(wanted.source.tree.all_notes()) :]:
        console.warn(note)
    return packed


def ship(api: Daytona, wanted: Order, *, test: Callable[[Image], None] | None = None) -> Shipped:
    """The snapshot, active. Whatever is there of it is used.

    `test` is called with an image before it is pushed, and raises if it must not ship.
    """
    if not wanted.force and wanted.name is None:
        wanted_name = _newest(api, wanted)
    else:
        wanted_name = wanted.wanted_name
    log = state_dir() / "logs" / f"snapshot-daytona-{time.strftime('%Y%m%d-%H%M%S')}.log"
    road = _Road(api, wanted, wanted_name, log, test)
    publisher = Publisher(api, log=log, timeout=wanted.timeout)
    published = publisher.ensure(
        Wanted(
            name=wanted_name,
            identity=wanted.source.identity,
            create=road.push if wanted.via == "push" else road.remote,
            again=wanted.again,
        )
    )
    verbs = {"reused": "is there already", "activated": "is active again"}
    verb = verbs.get(published.how, "is active")
    console.good(f"snapshot {published.snapshot.name} {verb}, {console.seconds(published.seconds)}")
    return Shipped(
        published=published, uploaded=road.uploaded, packed=road.packed, digest=road.digest
    )


def _newest(api: Daytona, wanted: Order) -> str:
    """The name to use: of a forced rebuild of the same source when that is active."""
    base = wanted.generated_name
    rebuilt: list[Snapshot] = []
    for found in api.snapshots():
        name = snapshot.Name.parse(found.name)
        if (
            name is not None
            and name.rebuild
            and (name.stage, name.identity) == (base.stage, base.identity)
            and found.state == "active"
            and snapshot.identity_of(found) == wanted.source.identity
        ):
            rebuilt.append(found)
    newest = max(rebuilt, key=lambda found: found.created, default=None)
    return newest.name if newest else str(base)


class _Road:
    """What happens between "it is not there" and Daytona's building it. May be asked for again."""

    def __init__(
        self,
        api: Daytona,
        wanted: Order,
        name: str,
        log: Path,
        test: Callable[[Image], None] | None,
    ) -> None:
        self._api = api
        self._wanted = wanted
        self._name = name
        self._log = log
        self._test = test
        self.packed: parts.Packed | None = None
        self.uploaded: Uploaded | None = None
        self.digest = ""

    def remote(self) -> Snapshot:
        if self.packed is None:
            self.packed = pack(self._wanted)
        packed = self.packed
        sent = upload.upload(
            packed.parts, self._api.storage_access, unfinished=state_dir() / "uploads"
        )
        console.step(f"uploaded: {sent}")
        self.uploaded = self.uploaded or sent
        text = snapshot.marked(packed.dockerfile, packed.identity, rebuild=self._wanted.rebuild)
        return self._api.create_from_contexts(
            self._name,
            dockerfile=text,
            contexts=[part.digest for part in packed.parts],
            **RESOURCES,
        )

    def push(self) -> Snapshot:
        from tasks.daytona import image_registry  # noqa: PLC0415 - only this road needs them
        from tasks.engine import discovery  # noqa: PLC0415 - only this road needs them

        there = discovery.require()
        built = self._built(there)
        self._boot(built)
        if self._test:
            self._test(built)
        access = self._api.registry_access()
        identity = self._wanted.source.identity
        target = image_registry.Target(
            registry=access.registry,
            repository=f"{access.project}/{snapshot.repository_for(identity)}",
            username=access.username,
            secret=access.secret,
        )
        pushed = image_registry.push(there, built.id, target, tag=identity[:12])
        self.uploaded = self.uploaded or pushed.uploaded
        self.digest = pushed.digest
        reference = f"{target.registry}/{target.repository}@{pushed.digest}"
        return self._api.create_from_image(self._name, image=reference, **RESOURCES)

    def _built(self, there: Engine) -> Image:
        """The image of this source on the local engine: the one that is there, or a new one."""
        found = None if self._wanted.force else image.find_source(there, self._wanted.source)
        if found:
            return found
        tag = image.tag_of(self._wanted.source)
        log = self._log.with_name(self._log.stem + "-local.log")
        image.build(
            there, self._wanted.source, tag=tag, log=log, ca_bundle=certificates.find_ca_bundle()
        )
        built = image.find(there, tag)
        if built is None:
            raise image.BuildFailed(
                f"{tag} is not there after its build", step="", fix=f"see {log}"
            )
        return built

    def _boot(self, built: Image) -> None:
        """A sandbox of it, on the local engine: before any layer is sent."""
        from tasks.sandbox import verify  # noqa: PLC0415 - heavy
        from tasks.sandbox.providers.docker import DockerProvider  # noqa: PLC0415 - heavy

        source = self._wanted.source
        expected = verify.Expected(sha=source.sha, identity=source.identity, pins=self._wanted.pins)
        with contextlib.closing(DockerProvider.connect()) as provider:
            verify.verify(provider, built.id, expected)


def _base36(number: int) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = digits[digit] + text
    return text or "0"
