"""The image is built and tested on the local engine, and its very layers go to Daytona."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.base import certificates, project
from tasks.base.errors import BadInput
from tasks.build import image, platforms
from tasks.daytona import content
from tasks.daytona.registry import push
from tasks.daytona.registry.client import PushTarget
from tasks.engine import discovery

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tasks.build.image import Image
    from tasks.daytona.api import Daytona
    from tasks.daytona.request import ResolvedRequest
    from tasks.daytona.snapshot import Snapshot
    from tasks.daytona.transfer import TransferReport
    from tasks.engine.engine import Engine


class PushRoad:
    def __init__(
        self,
        api: Daytona,
        request: ResolvedRequest,
        name: str,
        log: Path,
        check_image: Callable[[Image], None] | None,
    ) -> None:
        self._api = api
        self._request = request
        self._name = name
        self._log = log
        self._check_image = check_image
        self.report: TransferReport | None = None
        self.digest = ""

    def create(self) -> Snapshot:
        local_engine = discovery.require()
        image_to_push = self._find_or_build(local_engine)
        if self._check_image is not None:
            self._check_image(image_to_push)
        access = self._api.uploads.registry_access()
        target = PushTarget(
            registry=access.registry,
            repository=f"{access.project}/{project.IMAGE}",
            username=access.username,
            secret=access.secret,
        )
        identity, rebuild = self._request.source.identity, self._request.request.rebuild
        tag = content.tag_of(identity, rebuild=rebuild)
        pushed_image = push.push(local_engine, image_to_push.id, target, tag=tag)
        self.report = self.report or pushed_image.report
        self.digest = pushed_image.digest
        # The digest is what Daytona pulls; the tag is for those who look at the snapshot later.
        reference = f"{target.registry}/{target.repository}:{tag}@{pushed_image.digest}"
        resources = self._request.request.resources.options()
        return self._api.snapshots.create_from_image(self._name, image=reference, **resources)

    def _find_or_build(self, local_engine: Engine) -> Image:
        """The image of this source on the local engine: the one that is there, or a new one."""
        source = self._request.source
        platform = platforms.of_engine(local_engine)
        if platform != source.platform:
            raise BadInput(
                f"Daytona runs {source.platform}, and this build would be for {platform}",
                fix=f"{platforms.VARIABLE}={source.platform} builds for it; or --via remote",
            )
        existing_image = image.find_source(local_engine, source)
        if existing_image and not self._request.request.rebuild:
            return existing_image
        tag = image.tag_of(source)
        log = self._log.with_name(self._log.stem + "-local.log")
        image.build(local_engine, source, tag=tag, log=log, ca_bundle=certificates.find_ca_bundle())
        built_image = image.find(local_engine, tag)
        if built_image is None:
            raise image.BuildFailed(
                f"{tag} is not there after its build", step="", fix=f"see {log}"
            )
        return built_image
