"""Where build contexts are uploaded to: moto's S3, in an environment of its own."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import httpx

from tasks import console, process, settings
from tasks.standin import wire
from tasks.standin.children import LOOPBACK, Server, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.standin.faults import Fault

_REQUIREMENTS: Final = settings.ROOT / "requirements/storage.txt"
_SCRIPT: Final = Path(__file__).with_name("s3_server.py")
REGION: Final = "us-east-1"


def interpreter() -> Path:
    """Python with moto in it; made on first use, and again when the requirements change."""
    text = _REQUIREMENTS.read_bytes()
    folder = settings.cache_dir() / f"storage-{hashlib.sha256(text).hexdigest()[:12]}"
    python = folder / "bin/python"
    if python.exists():
        return python
    from tasks.commands.deps import find_uv  # noqa: PLC0415 - concepts do not need commands else

    uv = find_uv()
    console.say("  the stand-in's object storage gets its own environment …", "dim")
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix="storage-", dir=folder.parent))
    try:
        process.capture([uv, "venv", "--quiet", "--relocatable", "--clear", str(new)], timeout=120)
        args = [uv, "pip", "install", "--quiet", "--require-hashes", "--link-mode", "copy"]
        args += ["--python", str(new / "bin/python"), "-r", str(_REQUIREMENTS)]
        process.capture(args, timeout=600)
        if not python.exists():  # another process may have been first
            new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return python


class Storage:
    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.bucket = "stand-in-contexts"
        self.access_key = f"STANDIN{secrets.token_hex(6).upper()}"
        self.secret_key = secrets.token_hex(20)
        self.session_token = secrets.token_hex(20)
        self._secret = secrets.token_hex(16)
        self._client = httpx.Client(
            base_url=f"{self.url}/_stand-in/",
            headers={"x-stand-in": self._secret},
            timeout=60,
            trust_env=False,
        )
        log = folder / "storage.log"
        # What botocore reads must not come from this machine's own account; temporary files
        # belong to the run.
        env: dict[str, str | None] = {k: None for k in os.environ if k.startswith("AWS_")}
        env |= {
            "STAND_IN_SECRET": self._secret,
            "STAND_IN_ACCESS_KEY": self.access_key,
            "TMPDIR": str(folder),
            "PYTHONPATH": None,
            "VIRTUAL_ENV": None,
        }
        args = [str(interpreter()), str(_SCRIPT), str(self.port), self.bucket]
        self._server = Server("the object storage", args, log=log, env=env)
        try:
            self._server.wait_until(self._answers)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self._client.close()
        self._server.stop()

    def _answers(self) -> bool:
        try:
            return self._client.get("state").is_success
        except httpx.TransportError:
            return False

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
