"""Is this the sandbox it is to be? Asked of an image before it is pushed, and of a snapshot before
its name is told.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from tasks.base import console, process
from tasks.daytona import content
from tasks.sandbox import providers, tested, verify
from tasks.sandbox.providers.daytona import DaytonaProvider

if TYPE_CHECKING:
    from tasks.build.image import Image
    from tasks.daytona.api import Daytona
    from tasks.daytona.request import ResolvedRequest
    from tasks.daytona.snapshot import Snapshot


def check_image(request: ResolvedRequest, image: Image) -> None:
    """A sandbox of it works, on the local engine: tried before any layer is sent."""
    with contextlib.closing(providers.connect("docker")) as provider:
        verify.verify(provider, image.id, _expected(request))


def require_tests(image: Image) -> None:
    """The image has passed the whole suite, or does now."""
    if record := tested.find(image.id):
        console.step(f"the image passed the sandbox tests on {record.when}")
        return
    console.step("the image has not passed the sandbox tests yet")
    process.run([sys.executable, "-m", "tasks", "local-test", "--image", image.id])


def check_snapshot(api: Daytona, request: ResolvedRequest, name: str) -> list[str]:
    """A sandbox of it works at Daytona; what was checked, in words."""
    return verify.verify(DaytonaProvider(api), name, _expected(request)).checked


def commit_in(api: Daytona, snapshot: Snapshot) -> str:
    """Boot it and compare what it is with what its identity says; the commit that it holds."""
    identity = content.identity_of(snapshot)
    return verify.look(DaytonaProvider(api), snapshot.name, identity=identity)


def _expected(request: ResolvedRequest) -> verify.Expected:
    source = request.source
    return verify.Expected(sha=source.sha, identity=source.identity, pins=request.pins)
