"""What every test starts from."""

from __future__ import annotations

import signal

# Started in the background of a script (some CI runners do), a process has SIGINT ignored, and so
# have its children: tests that press Ctrl-C would press in vain.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
