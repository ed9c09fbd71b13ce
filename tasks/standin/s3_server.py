"""moto's S3 server with a back door for the stand-in, as a process of its own.

`python s3_server.py PORT SECRET BUCKET`. The back door, below /_stand-in/ and with the secret as
header: `state`, `object?key=`, `fault` (the next so many PUTs are cut off or refused).
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from typing import Any
from urllib.parse import parse_qs

# Objects larger than this are kept on disk.
os.environ.setdefault("MOTO_S3_DEFAULT_KEY_BUFFER_SIZE", str(1 << 20))

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    create_backend_app,
)
from moto.s3.models import s3_backends
from werkzeug.serving import make_server

ACCOUNT = "123456789012"


class BackDoor:
    def __init__(self, app: Any, secret: str, bucket: str, access_key: str) -> None:
        self._app = app
        self._secret = secret
        self._bucket = bucket
        self._access_key = access_key
        self._lock = threading.Lock()
        self._faults: list[dict[str, Any]] = []
        self._received = 0
        self._puts = 0
        #: How often a fault has struck since they were all taken back.
        self._struck = 0

    @property
    def _s3(self) -> Any:
        return s3_backends[ACCOUNT]["aws"]

    def __call__(self, environ: dict[str, Any], start: Any) -> Any:
        path = environ["PATH_INFO"]
        if path.startswith("/_stand-in/"):
            return self._admin(path.rpartition("/")[2], environ, start)
        if self._access_key not in environ.get("HTTP_AUTHORIZATION", ""):
            return _reply(start, "403 Forbidden", _xml("InvalidAccessKeyId"), "application/xml")
        if environ["REQUEST_METHOD"] != "PUT":
            return self._app(environ, start)
        with self._lock:
            fault = next((f for f in self._faults if f["times"] != 0 and not _later(f)), None)
            if fault:
                fault["times"] -= 1 if fault["times"] > 0 else 0
                self._struck += 1
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if fault and fault["kind"] == "upload-cut":
            environ["wsgi.input"].read(min(fault["count"], max(length - 1, 0)))
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return []
        if fault:
            environ["wsgi.input"].read(length)
            return _reply(start, f"{fault['status']} Asked", _xml("SlowDown"), "application/xml")
        with self._lock:
            self._received += length
            self._puts += 1
        return self._app(environ, start)

    def _admin(self, what: str, environ: dict[str, Any], start: Any) -> Any:
        if environ.get("HTTP_X_STAND_IN") != self._secret:
            return _reply(start, "403 Forbidden", b"", "text/plain")
        if what == "fault":
            fault = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
            with self._lock:
                self._faults = [*self._faults, fault] if fault else []
                self._struck = self._struck if fault else 0
            return _reply(start, "200 OK", b"{}", "application/json")
        if what == "state":
            return _reply(start, "200 OK", json.dumps(self._state()).encode(), "application/json")
        key = parse_qs(environ["QUERY_STRING"])["key"][0]
        found = self._s3.get_object(self._bucket, key)
        if found is None:
            return _reply(start, "404 Not Found", b"", "text/plain")
        # moto hands out a copy of the bytes; context parts are made small for that.
        return _reply(start, "200 OK", found.value, "application/octet-stream")

    def _state(self) -> dict[str, Any]:
        bucket = self._s3.buckets[self._bucket]
        return {
            "objects": {k.name: k.size for k in list(bucket.keys.values())},
            "incomplete": {
                u.key_name: sum(p.size for p in u.parts.values())
                for u in list(bucket.multiparts.values())
            },
            "received": self._received,
            "puts": self._puts,
            "struck": self._struck,
        }


def _later(fault: dict[str, Any]) -> bool:
    """Whether it lets this one pass."""
    if fault["after"] > 0:
        fault["after"] -= 1
        return True
    return False


def _xml(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>stand-in</Message></Error>".encode()


def _reply(start: Any, status: str, body: bytes, kind: str) -> list[bytes]:
    start(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


def main() -> None:
    port, bucket = int(sys.argv[1]), sys.argv[2]
    secret, access_key = os.environ["STAND_IN_SECRET"], os.environ["STAND_IN_ACCESS_KEY"]
    s3_backends[ACCOUNT]["aws"].create_bucket(bucket, "us-east-1")
    app = DomainDispatcherApplication(create_backend_app)
    door = BackDoor(app, secret, bucket, access_key)
    make_server("127.0.0.1", port, door, threaded=True).serve_forever()


if __name__ == "__main__":
    main()
