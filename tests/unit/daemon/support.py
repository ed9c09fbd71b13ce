"""The application without a server, and small programs that stand in for a sandbox's tools."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httpx
from iterate_daemon.app import create_app
from iterate_daemon.config import Config

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
    from pathlib import Path

    from starlette.types import Message, Receive, Scope, Send

    ASGIApp = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]

LOCAL = ((b"host", b"localhost:3000"),)
TOKEN = "right-horse-battery-staple"
SHA = "3f2c9d0b7a415e6688c1d2e3f4a5b6c7d8e9f001"
BUILD_INFO: dict[str, Any] = {
    "schema": 1,
    "sha": SHA,
    "branch": "main",
    "dirty": False,
    "identity": "8d" * 32,
    "pins": {"SANDBOX_BUN_VERSION": "1.4.4", "SANDBOX_UV_VERSION": "0.13.9"},
    "base_image": "debian:trixie-slim",
    "built_at": "2026-11-23T09:00:00Z",
}


def config(folder: Path, **changes: Any) -> Config:
    """Files below `folder`; nothing answers as opencode."""
    values: dict[str, Any] = {
        "token": TOKEN,
        "opencode_url": "http://127.0.0.1:1",
        "s6_dir": folder / "service",
        "build_info": folder / "build.json",
        "state_file": folder / "state.json",
        "environment_file": folder / "environment.json",
        "ui_dir": folder / "dist",
    }
    return Config(**values | changes)


@contextlib.asynccontextmanager
async def open_client(config: Config, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(config)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=transport, base_url="http://localhost:3000", **options
        ) as client,
    ):
        yield client


def asgi_get(
    app: ASGIApp, target: str, *, headers: Sequence[tuple[bytes, bytes]] = LOCAL, **scope: Any
) -> tuple[int, dict[bytes, bytes], bytes]:
    """GET `target` as it stands, as uvicorn hands it on; headers and other parts at will."""
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        messages.append(message)

    request = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": unquote(target),
        "raw_path": target.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": list(headers),
        "client": ("127.0.0.1", 9),
        "server": ("127.0.0.1", 3000),
        **scope,
    }
    asyncio.run(app(request, receive, send))
    body = b"".join(message.get("body", b"") for message in messages[1:])
    return messages[0]["status"], dict(messages[0]["headers"]), body


def bearer(token: str = TOKEN) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value))


def program(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def ask(folder: Path, talk: Callable[[httpx.AsyncClient], Awaitable[Any]], **changes: Any) -> Any:
    """What `talk` returns, with a client of the application."""

    async def run() -> Any:
        async with open_client(config(folder, **changes)) as client:
            return await talk(client)

    return asyncio.run(run())


def get(folder: Path, path: str, **options: Any) -> httpx.Response:
    response: httpx.Response = ask(folder, lambda client: client.get(path, **options))
    return response
