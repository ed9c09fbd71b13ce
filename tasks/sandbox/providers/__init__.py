"""The providers by name. Each brings a heavy SDK, so it is imported when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tasks.base.errors import BadInput

if TYPE_CHECKING:
    from tasks.sandbox.sandbox import Provider

NAMES: Final = ("docker", "daytona")

#: Provider → the command that tests its sandboxes, up to the image's name.
TEST_COMMANDS: Final = {
    "docker": ("local-test", "--image"),
    "daytona": ("daytona-test", "--snapshot"),
}


def connect(name: str) -> Provider:
    if name == "docker":
        from tasks.sandbox.providers.docker import DockerProvider  # noqa: PLC0415

        return DockerProvider.connect()
    if name == "daytona":
        from tasks.sandbox.providers.daytona import DaytonaProvider  # noqa: PLC0415

        return DaytonaProvider.connect()
    raise BadInput(f"there is no provider `{name}`", fix=f"one of: {', '.join(NAMES)}")
