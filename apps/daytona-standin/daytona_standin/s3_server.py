"""moto's S3 server with a back door for the stand-in, as a process of its own.

`python s3_server.py PORT BUCKET`; two secrets come in the environment. The back door is below
/_stand-in/ and asks for its secret as a header: `state`, `object?key=KEY`, and `faults` (the next
PUTs are cut off or refused).
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
    """A WSGI application around moto's."""

    def __init__(self, app: Any, secret: str, bucket: str, access_key: str) -> None:
        self._app = app
        self._secret = secret
        self._bucket = bucket
        self._access_key = access_key
        self._lock = threading.Lock()
        self._faults: list[dict[str, Any]] = []
        self._received = 0
        self._puts = 0

    @property
    def _s3(self) -> Any:
        return s3_backends[ACCOUNT]["aws"]

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        if path.startswith("/_stand-in/"):
            return self._answer_stand_in(path.rpartition("/")[2], environ, start_response)
        if self._access_key not in environ.get("HTTP_AUTHORIZATION", ""):
            body = _error_xml("InvalidAccessKeyId")
            return _respond(start_response, "403 Forbidden", body, "application/xml")
        if environ["REQUEST_METHOD"] != "PUT":
            return self._app(environ, start_response)
        with self._lock:
            fault = self._strike()
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if fault and fault["kind"] == "upload-cut":
            environ["wsgi.input"].read(min(fault["count"], max(length - 1, 0)))
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return []
        if fault:
            environ["wsgi.input"].read(length)
            status, body = f"{fault['status']} Injected", _error_xml("SlowDown")
            return _respond(start_response, status, body, "application/xml")
        with self._lock:
            self._received += length
            self._puts += 1
        return self._app(environ, start_response)

    def _strike(self) -> dict[str, Any] | None:
        """The fault that is due for this PUT, counted as struck."""
        for fault in self._faults:
            if fault["times"] == 0:
                continue
            if fault["skip"] > 0:
                fault["skip"] -= 1
                continue
            fault["times"] -= 1 if fault["times"] > 0 else 0
            fault["struck"] += 1
            return fault
        return None

    def _answer_stand_in(self, name: str, environ: dict[str, Any], start_response: Any) -> Any:
        if environ.get("HTTP_X_STAND_IN") != self._secret:
            return _respond(start_response, "403 Forbidden", b"", "text/plain")
        if name == "faults":
            value: Any = self._change_faults(environ)
        elif name == "state":
            value = self._state()
        else:
            key = parse_qs(environ["QUERY_STRING"])["key"][0]
            stored_object = self._s3.get_object(self._bucket, key)
            if stored_object is None:
                return _respond(start_response, "404 Not Found", b"", "text/plain")
            # moto hands out a copy of the bytes; contexts are uploaded in small parts for that.
            return _respond(
                start_response, "200 OK", stored_object.value, "application/octet-stream"
            )
        return _respond(start_response, "200 OK", json.dumps(value).encode(), "application/json")

    def _change_faults(self, environ: dict[str, Any]) -> list[dict[str, Any]]:
        """GET shows them, POST adds one, DELETE removes all."""
        method = environ["REQUEST_METHOD"]
        with self._lock:
            if method == "POST":
                text = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
                self._faults.append(json.loads(text))
            elif method == "DELETE":
                self._faults.clear()
            return list(self._faults)

    def _state(self) -> dict[str, Any]:
        bucket = self._s3.buckets[self._bucket]
        return {
            "objects": {key.name: key.size for key in list(bucket.keys.values())},
            "incomplete": {
                upload.key_name: sum(part.size for part in upload.parts.values())
                for upload in list(bucket.multiparts.values())
            },
            "received": self._received,
            "puts": self._puts,
        }


def _error_xml(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>stand-in</Message></Error>".encode()


def _respond(start_response: Any, status: str, body: bytes, content_type: str) -> list[bytes]:
    headers = [("Content-Type", content_type), ("Content-Length", str(len(body)))]
    start_response(status, headers)
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
