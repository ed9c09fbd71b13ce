"""The object storage that build contexts are uploaded to: moto's S3 server as a child."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from daytona_standin.child_processes import LOOPBACK, ChildServer, free_port
from daytona_standin.presentation import ORGANIZATION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daytona_standin.faults import InjectedFault

_SCRIPT: Final = Path(__file__).with_name("s3_server.py")
_BUCKET: Final = "stand-in-contexts"
_REGION: Final = "us-east-1"


class ObjectStorage:
    """Files of the server, temporary ones too, go into `folder`."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self._url = f"http://{LOOPBACK}:{port}"
        self._access_key = f"STANDIN{secrets.token_hex(6).upper()}"
        self._secret_key = secrets.token_hex(20)
        self._session_token = secrets.token_hex(20)
        back_door_secret = secrets.token_hex(16)
        # botocore must not read the settings of this machine's own AWS account.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        environment.pop("PYTHONPATH", None)
        environment |= {
            "STAND_IN_SECRET": back_door_secret,
            "STAND_IN_ACCESS_KEY": self._access_key,
            "TMPDIR": str(folder),
        }
        server = ChildServer(
            "the object storage",
            [sys.executable, "-P", str(_SCRIPT), str(port), _BUCKET],
            log=folder / "storage.log",
            base_url=f"{self._url}/_stand-in/",
            probe="state",
            headers={"x-stand-in": back_door_secret},
            environment=environment,
        )
        self._client = server.client
        self.stop = server.stop

    def push_access(self) -> dict[str, Any]:
        """A `StorageAccessDto`."""
        return {
            "accessKey": self._access_key,
            "secret": self._secret_key,
            "sessionToken": self._session_token,
            "storageUrl": self._url,
            "organizationId": ORGANIZATION,
            "bucket": _BUCKET,
            "region": _REGION,
        }

    def state(self) -> dict[str, Any]:
        """`objects` and `incomplete` uploads (key → bytes), `received` bytes, number of `puts`."""
        return dict(self._client.get("state").raise_for_status().json())

    def faults(self) -> list[dict[str, Any]]:
        return list(self._client.get("faults").raise_for_status().json())

    def add_fault(self, fault: InjectedFault) -> None:
        self._client.post("faults", json=fault.to_json()).raise_for_status()

    def clear_faults(self) -> None:
        self._client.delete("faults").raise_for_status()

    @contextmanager
    def open_context(self, digest: str) -> Iterator[IO[bytes] | None]:
        """The uploaded archive, or None when there is none."""
        key = f"{ORGANIZATION}/{digest}/context.tar"
        with (
            tempfile.TemporaryFile(prefix="stand-in-") as file,
            self._client.stream("GET", "object", params={"key": key}) as response,
        ):
            if response.status_code == 404:
                yield None
                return
            response.raise_for_status()
            for chunk in response.iter_bytes():
                file.write(chunk)
            file.seek(0)
            yield file
