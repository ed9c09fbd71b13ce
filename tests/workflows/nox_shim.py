"""`nox` in a rehearsal: the real one that the job has installed, but for the sessions in a table.

The table replaces what would take minutes. It is a JSON file, named by REHEARSAL_SESSIONS: the
beginning of a command (`local_test`, `tests -- standin`) → a row, which may have

  add      more arguments
  without  arguments that are left out
  instead  these arguments and no others
  env      variables for the session
  passed   an image: it counts as tested, although only some of the tests have run
  status   nothing runs; `say` is printed, and this is the exit status
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
    if flag != "-s":
        raise SystemExit(f"nox {arguments}: the rehearsal knows `nox -s` alone")
    row = find(words)
    if "status" in row:
        print(row.get("say", ""), file=sys.stderr)
        return int(row["status"])
    end = words.index("--") if "--" in words else len(words)
    posargs = [word for word in words[end + 1 :] if word not in row.get("without", [])]
    posargs = row.get("instead", posargs) + row.get("add", [])
    program = Path(os.environ["REHEARSAL_PYTHON"]) / "bin" / "nox"
    if not program.exists():
        print("rehearsal: no step has installed nox", file=sys.stderr)
        return 127
    command = [str(program), "--envdir", os.environ["REHEARSAL_ENVIRONMENTS"], "-s"]
    command += [*words[:end], "--", *posargs]
    environment = {**os.environ, **row.get("env", {})}
    status = subprocess.run(command, env=environment, check=False).returncode
    if status == 0 and "passed" in row:
        record_passed(row["passed"])
    return status


def find(words: list[str]) -> dict[str, Any]:
    """The row for this command; its log says what was replaced, but no variable's value."""
    command = " ".join(words)
    table = json.loads(Path(os.environ["REHEARSAL_SESSIONS"]).read_text())
    row: dict[str, Any] = next(
        (row for start, row in table.items() if f"{command} ".startswith(f"{start} ")), {}
    )
    if row:
        shown = {key: value for key, value in row.items() if key != "env"}
        print(f"rehearsal: nox -s {command} with {json.dumps(shown)}", file=sys.stderr)
    return row


def record_passed(image: str) -> None:
    inspect = ["docker", "image", "inspect", "--format", "{{.Id}}", image]
    image_id = subprocess.run(inspect, capture_output=True, text=True, check=True).stdout.strip()
    record = "import sys; from tasks.sandbox import tested; tested.record(sys.argv[1])"
    subprocess.run([sys.executable, "-c", record, image_id], check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
