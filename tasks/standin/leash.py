"""Run a program that ends with us however we end: `python leash.py PROGRAM …`, stdin held open.

The kernel closes the pipe when its holder dies, SIGKILL included. Standard library only.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for our holder
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)

    def let_go() -> None:
        while os.read(0, 1):  # not sys.stdin: its lock would outlive the interpreter
            pass
        child.terminate()
        try:
            child.wait(timeout=3)
        except subprocess.TimeoutExpired:
            child.kill()

    threading.Thread(target=let_go, daemon=True).start()
    return child.wait()


if __name__ == "__main__":
    sys.exit(main())
