"""`nox` in a rehearsal: the real one that the job has installed, but for the sessions in a table.

The table replaces what would take minutes. It is a JSON file, named by REHEARSAL_SESSIONS: the
beginning of a command (`local_test`, `tests -- standin`) → a row, which may have `add` (arguments),
`without` (arguments), `instead` (of all arguments), `env` (variables), `passed` (an image that
counts as tested, although only some tests have run), or `status`: nothing runs, `say` is printed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def main(arguments: list[str]) -> int:
    flag, *words = arguments
    assert flag == "-s", "the rehearsal knows `nox -s` alone"
    row = find(" ".join(words))
    if "status" in row:
        print(row.get("say", ""), file=sys.stderr)
        return int(row["status"])
    end = words.index("--") if "--" in words else len(words)
    posargs = [word for word in words[end + 1 :] if word not in row.get("without", [])]
    posargs = row.get("instead", posargs) + row.get("add", [])
    program = str(Path(os.environ["REHEARSAL_PYTHON"]) / "bin" / "nox")
    command = [program, "--envdir", os.environ["REHEARSAL_ENVIRONMENTS"], "-s", *words[:end], "--"]
    environment = {**os.environ, **row.get("env", {})}
    status = subprocess.run([*command, *posargs], env=environment, check=False).returncode
    if status == 0 and "passed" in row:
        record_passed(row["passed"])
    return status


def find(command: str) -> dict[str, Any]:
    """The row for this command; the log says what is replaced, but no variable's value."""
    table = json.loads(Path(os.environ["REHEARSAL_SESSIONS"]).read_text())
    rows = (row for start, row in table.items() if f"{command} ".startswith(f"{start} "))
    row: dict[str, Any] = next(rows, {})
    visible = {key: value for key, value in row.items() if key != "env"}
    print(f"rehearsal: nox -s {command} with {json.dumps(visible)}", file=sys.stderr)
    return row


def record_passed(image: str) -> None:
    inspect = ["docker", "image", "inspect", "--format", "{{.Id}}", image]
    image_id = subprocess.run(inspect, capture_output=True, text=True, check=True).stdout.strip()
    record = "import sys; from tasks.sandbox import tested; tested.record(sys.argv[1])"
    subprocess.run([sys.executable, "-c", record, image_id], check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
