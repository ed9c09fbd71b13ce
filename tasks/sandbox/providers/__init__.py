"""The providers by name. Each brings a heavy SDK, so it is imported when it is asked for.

The one place that names them all: a new provider is a module beside this one and a row below.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tasks.base.errors import BadInput

if TYPE_CHECKING:
    from tasks.sandbox.provider import Provider

DEFAULT: Final = "docker"


@dataclass(frozen=True, kw_only=True)
class ProviderEntry:
    """`provider` is MODULE:CLASS. `test_command`, with an image's name behind it, tests a sandbox
    of that image.
    """

    provider: str
    test_command: tuple[str, ...]

    def load(self) -> type[Provider]:
        module, _, class_name = self.provider.partition(":")
        provider_class: type[Provider] = getattr(importlib.import_module(module), class_name)
        return provider_class


PROVIDERS: Final = {
    "docker": ProviderEntry(
        provider="tasks.sandbox.providers.docker:DockerProvider",
        test_command=("local-test", "--image"),
    ),
    "daytona": ProviderEntry(
        provider="tasks.sandbox.providers.daytona:DaytonaProvider",
        test_command=("daytona-test", "--snapshot"),
    ),
}


def connect(name: str) -> Provider:
    if name not in PROVIDERS:
        raise BadInput(f"there is no provider `{name}`", fix=f"one of: {', '.join(PROVIDERS)}")
    return PROVIDERS[name].load().connect()
