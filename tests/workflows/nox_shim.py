"""`nox` in a rehearsal: the real one that the job has installed, but for the sessions in a table.

What the table replaces is what would take minutes. It is a JSON file, named by REHEARSAL_SESSIONS;
by the sessions of a call, each row may say:

  add      more arguments, of the real sessions
  without  arguments that are left out
  sessions others that run instead
  env      variables for it
  passed   an image's name: it counts as tested, although only some of the tests have run
  status   nothing runs; `say` is printed, and that is how it ends
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    flag, *rest = arguments
    if flag != "-s":
        raise SystemExit(f"nox {arguments}: the rehearsal knows `nox -s` alone")
    cut = rest.index("--") if "--" in rest else len(rest)
    sessions, posargs = rest[:cut], rest[cut + 1 :]
    table = json.loads(Path(os.environ["REHEARSAL_SESSIONS"]).read_text())
    row = table.get(" ".join(sessions), {})
    if row:
        told = {key: value for key, value in row.items() if key != "env"}
        print(f"rehearsal: nox -s {' '.join(sessions)} with {json.dumps(told)}", file=sys.stderr)
    if "status" in row:
        print(row.get("say", ""), file=sys.stderr)
        return int(row["status"])
    posargs = [one for one in posargs if one not in row.get("without", [])] + row.get("add", [])
    real = Path(os.environ["REHEARSAL_PYTHON"]) / "bin" / "nox"
    if not real.exists():
        print("rehearsal: no step has installed nox", file=sys.stderr)
        return 127
    command = [str(real), "--envdir", os.environ["REHEARSAL_ENVIRONMENTS"], "-s"]
    command += [*row.get("sessions", sessions), "--", *posargs]
    environment = {**os.environ, **row.get("env", {})}
    status = subprocess.run(command, env=environment, check=False).returncode
    if status == 0 and "passed" in row:
        passed(row["passed"])
    return status


def passed(name: str) -> None:
    told = subprocess.run(
        ["docker", "image", "inspect", "--format", "{{.Id}}", name],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    record = "import sys; from tasks.sandbox import tested; tested.record(sys.argv[1])"
    subprocess.run([sys.executable, "-c", record, told.stdout.strip()], check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
