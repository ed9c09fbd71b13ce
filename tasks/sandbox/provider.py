"""Who runs sandboxes. A provider implements four methods; `providers/` lists them by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Self

from tasks.sandbox.errors import NotOffered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.sandbox.ownership import Ownership
    from tasks.sandbox.sandbox import Sandbox
    from tasks.sandbox.values import Belonging, Capability, Spec


class Provider(ABC):
    """Makes sandboxes, and finds those it made again by their labels."""

    name: ClassVar[str]
    #: What this provider does not offer, and why. What is not listed is offered.
    not_offered: Mapping[Capability, str] = MappingProxyType({})

    @classmethod
    @abstractmethod
    def connect(cls) -> Provider:
        """With the settings of this machine's environment. Raises `TaskError`: what to do first."""

    @abstractmethod
    def create_sandbox(self, spec: Spec, run: Ownership) -> Sandbox:
        """Create a sandbox, not started yet, with the name and the labels that `run` gives.

        `spec` asks for nothing that `not_offered` lists.
        """

    @abstractmethod
    def belongings(self) -> list[Belonging]:
        """Everything that some run of this project owns at this provider."""

    @abstractmethod
    def remove(self, belonging: Belonging) -> None:
        """Delete it for good; that it is gone already is not an error."""

    def check(self, image: str) -> None:  # noqa: B027 - a provider may have nothing to check
        """Raise `TaskError`, with what to do, if sandboxes of `image` cannot be made here.

        A provider that cannot know this beforehand says it in `create_sandbox`.
        """

    def close(self) -> None:  # noqa: B027 - nor to close
        """Let go of connections."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def create(self, spec: Spec, run: Ownership) -> Sandbox:
        """Create a sandbox, not started yet. Raises `NotOffered` for what `spec` cannot have."""
        for capability in spec.capabilities():
            self.require(capability)
        return self.create_sandbox(spec, run)

    def require(self, capability: Capability) -> None:
        if reason := self.not_offered.get(capability):
            raise NotOffered(f"{self.name} sandboxes do not offer {capability}: {reason}")
