"""Wall time of `bump_versions --check` beside the slowest single `npm view` of its set.

`python -m tests.bench.bump [ROUNDS]`, with the test packages: both are timed in turns, so that a
busy machine is busy for both; the medians and their ratio are printed, and a ratio above 1.5 is
exit 1.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from tasks.base import console
from tasks.bump import pins
from tasks.bump.registries import npm_program

CHECK = [sys.executable, "-m", "tasks", "bump-versions", "--check"]


def seconds(command: list[str], statuses: set[int]) -> float:
    start = time.monotonic()
    result = subprocess.run(command, check=False, capture_output=True, timeout=120)
    if result.returncode not in statuses:
        sys.exit(result.stderr.decode())
    return time.monotonic() - start


def main(rounds: int) -> int:
    names = [pin.package for pin in pins.PINS if pin.origin == "npm"]
    view = {name: [*npm_program.npm_command(), "view", name, "--json"] for name in names}
    seconds(CHECK, {0, 1})
    bumper_times: list[float] = []
    slowest: list[float] = []
    for _ in range(rounds):
        times = {name: seconds(command, {0}) for name, command in view.items()}
        bumper_times.append(seconds(CHECK, {0, 1}))
        slowest.append(max(times.values()))
        name = max(times, key=lambda package: times[package])
        console.say(
            f"npm view {name}: {slowest[-1]:.2f} s; bump_versions --check: {bumper_times[-1]:.2f} s"
        )
    bumper_time, npm_time = statistics.median(bumper_times), statistics.median(slowest)
    ratio = bumper_time / npm_time
    print(f"median {bumper_time:.2f} s / {npm_time:.2f} s = {ratio:.2f}")
    return ratio > 1.5


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bump", description=__doc__)
    parser.add_argument("rounds", nargs="?", type=int, default=5)
    sys.exit(main(parser.parse_args().rounds))
