"""Where build contexts are uploaded to: moto's S3 as a child."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from tasks.standin import wire
from tasks.standin.children import LOOPBACK, Server, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.standin.faults import Fault

_SCRIPT: Final = Path(__file__).with_name("s3_server.py")
REGION: Final = "us-east-1"


class Storage:
    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.bucket = "stand-in-contexts"
        self.access_key = f"STANDIN{secrets.token_hex(6).upper()}"
        self.secret_key = secrets.token_hex(20)
        self.session_token = secrets.token_hex(20)
        secret = secrets.token_hex(16)
        # What botocore reads must not come from this machine's own account; temporary files
        # belong to the run.
        env: dict[str, str | None] = {k: None for k in os.environ if k.startswith("AWS_")}
        env |= {
            "STAND_IN_SECRET": secret,
            "STAND_IN_ACCESS_KEY": self.access_key,
            "TMPDIR": str(folder),
            "PYTHONPATH": None,
            "VIRTUAL_ENV": None,
        }
        server = Server(
            "the object storage",
            [sys.executable, str(_SCRIPT), str(self.port), self.bucket],
            log=folder / "storage.log",
            base_url=f"{self.url}/_stand-in/",
            probe="state",
            headers={"x-stand-in": secret},
            env=env,
        )
        self._client = server.client
        self.stop = server.stop

    def push_access(self) -> dict[str, Any]:
        return {
            "accessKey": self.access_key,
            "secret": self.secret_key,
            "sessionToken": self.session_token,
            "storageUrl": self.url,
            "organizationId": wire.ORGANIZATION,
            "bucket": self.bucket,
            "region": REGION,
        }

    def state(self) -> dict[str, Any]:
        return dict(self._client.get("state").raise_for_status().json())

    def fault(self, fault: Fault | None) -> None:
        self._client.post("fault", json=asdict(fault) if fault else {}).raise_for_status()

    @contextmanager
    def context(self, digest: str) -> Iterator[IO[bytes] | None]:
        """The uploaded archive, None when there is none."""
        key = f"{wire.ORGANIZATION}/{digest}/context.tar"
        with (
            tempfile.TemporaryFile(prefix="stand-in-") as file,
            self._client.stream("GET", "object", params={"key": key}) as reply,
        ):
            if reply.status_code == 404:
                yield None
                return
            reply.raise_for_status()
            for chunk in reply.iter_bytes():
                file.write(chunk)
            file.seek(0)
            yield file
