"""The built page. Read from the disk at every request: a new build is swapped in as a whole."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request
    from starlette.types import Scope

_NOT_BUILT = "The page is not built yet. Run: pnpm --filter @iterate/daemon-web build\n"


class IndexPage:
    def __init__(self, ui_dir: Path) -> None:
        self._file = ui_dir / "index.html"

    async def __call__(self, _request: Request) -> Response:
        try:
            page = await asyncio.to_thread(self._file.read_bytes)
        except OSError:
            return PlainTextResponse(_NOT_BUILT, status_code=503)
        # Small, and it names the current assets: always asked for again.
        return HTMLResponse(page, headers={"Cache-Control": "no-cache"})


class Assets(StaticFiles):
    """Files whose names carry a hash of their content, below the UI's `assets` folder alone."""

    def __init__(self, ui_dir: Path) -> None:
        super().__init__(directory=ui_dir / "assets", check_dir=False)

    async def check_config(self) -> None:
        """No check: the index page reports a missing build, and a missing asset is a 404."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response
