"""A proxy that passes nothing on: it writes down what it is asked for and answers 502.

Runs inside a sandbox: `python3 recording_proxy.py LOG`. Each request becomes one JSON line in LOG;
the port that the system gave is the first line. Standard library only.
"""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class RecordingProxy(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, log: Path) -> None:
        super().__init__(("0.0.0.0", 0), ProxiedRequest)  # noqa: S104 - for the sandbox beside it
        self._log = log
        self._lock = threading.Lock()
        self.record({"port": self.server_port})

    def record(self, entry: dict[str, object]) -> None:
        with self._lock, self._log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")


class ProxiedRequest(BaseHTTPRequestHandler):
    server: RecordingProxy

    def log_message(self, *_args: object) -> None:
        """The log is the recorded requests."""

    def _refuse(self) -> None:
        headers = dict(self.headers)
        self.server.record({"method": self.command, "target": self.path, "headers": headers})
        self.send_error(502)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_CONNECT = do_OPTIONS = _refuse  # noqa: N815


if __name__ == "__main__":
    RecordingProxy(Path(sys.argv[1])).serve_forever()
