"""Run a program that ends with its holder however that ends: `python leash.py FD PROGRAM …`.

FD is the reading end of a pipe whose writing end only the holder has: the kernel closes that end
when the holder dies, SIGKILL included. Standard library only, so that it starts quickly.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading


def main() -> int:
    lifeline = int(sys.argv[1])
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # They are for the holder, who lets go. A handler, unlike SIG_IGN, is not inherited.
        signal.signal(signum, lambda *_details: None)
    child = subprocess.Popen(sys.argv[2:], start_new_session=True)

    def end_with_holder() -> None:
        while os.read(lifeline, 1):
            pass
        child.terminate()
        try:
            child.wait(timeout=3)
        except subprocess.TimeoutExpired:
            child.kill()

    threading.Thread(target=end_with_holder, daemon=True).start()
    return child.wait()


if __name__ == "__main__":
    sys.exit(main())
