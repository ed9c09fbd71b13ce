"""Questions about sandboxes, and what runs in them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tasks.base.parsing import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.daytona.answers import JsonAnswer
    from tasks.daytona.connection import Connection

#: The server waits for a start or a stop before it answers.
_CHANGE_TIMEOUT: Final = (10.0, 90.0)


@dataclass(frozen=True, kw_only=True)
class RemoteSandbox:
    """`toolbox` is the address at which commands are run in it, "" where it must be asked for."""

    id: str
    name: str
    state: str
    labels: Mapping[str, str] = field(default_factory=dict)
    snapshot: str = ""
    reason: str = ""
    toolbox: str = ""
    #: All that the server said of it.
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_answer(cls, answer: JsonAnswer) -> RemoteSandbox:
        identity = answer.text("id")
        return cls(
            id=identity,
            name=answer.optional_text("name") or identity,
            state=answer.optional_text("state") or "unknown",
            labels=answer.mapping("labels"),
            snapshot=answer.optional_text("snapshot"),
            reason=answer.optional_text("errorReason"),
            toolbox=answer.optional_text("toolboxProxyUrl"),
            fields=answer.fields,
        )


@dataclass(frozen=True, kw_only=True)
class Preview:
    """How a port of a sandbox is reached from outside."""

    url: str
    token: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Executed:
    exit_code: int
    result: str


class SandboxClient:
    def __init__(self, connection: Connection) -> None:
        import daytona_toolbox_api_client as toolbox_sdk  # noqa: PLC0415 - heavy

        self._connection = connection
        self._sdk = connection.sdk
        self._toolbox_sdk = toolbox_sdk
        self._api = connection.sdk.SandboxApi(connection.client)
        self._toolboxes: dict[str, Any] = {}

    def create(self, **options: Any) -> RemoteSandbox:
        """Sent once. The server waits up to 30 s for its start before it answers."""
        answer = self._connection.ask(
            f"creating a sandbox of {options.get('snapshot')}",
            self._api.create_sandbox_without_preload_content,
            self._sdk.CreateSandbox(target=self._connection.credentials.target, **options),
            is_repeatable=False,
            scope="write:sandboxes",
        )
        return RemoteSandbox.from_answer(answer)

    def find(self, name: str) -> RemoteSandbox | None:
        """By id or name; None when it is gone, or was never there."""
        answer = self._connection.ask_or_none(
            f"looking for sandbox {name}",
            self._api.get_sandbox_without_preload_content,
            name,
        )
        if answer is None or answer.optional_text("state") == "destroyed":
            return None
        return RemoteSandbox.from_answer(answer)

    def list_all(self, labels: Mapping[str, str] | None = None) -> list[RemoteSandbox]:
        """Those that carry all of `labels`, failed ones too; without any, every sandbox."""
        sandboxes: dict[str, RemoteSandbox] = {}
        cursors: list[str | None] = [None]
        while True:
            answer = self._connection.ask(
                "listing the sandboxes",
                self._api.list_sandboxes_without_preload_content,
                cursor=cursors[-1],
                limit=200,
                labels=json.dumps(dict(labels)) if labels else None,
                include_errored_deleted=True,
            )
            for item in answer.children("items"):
                sandbox = RemoteSandbox.from_answer(item)
                # Not every server filters, and what is on this list may be deleted.
                if sandbox.state != "destroyed" and (
                    not labels or labels.items() <= sandbox.labels.items()
                ):
                    sandboxes[sandbox.id] = sandbox
            cursor = answer.optional_text("nextCursor")
            if not cursor or cursor in cursors:
                return list(sandboxes.values())
            cursors.append(cursor)

    def start(self, identity: str) -> None:
        self._connection.ask(
            f"starting sandbox {identity}",
            self._api.start_sandbox_without_preload_content,
            identity,
            scope="write:sandboxes",
            timeout=_CHANGE_TIMEOUT,
        )

    def stop(self, identity: str) -> None:
        self._connection.ask(
            f"stopping sandbox {identity}",
            self._api.stop_sandbox_without_preload_content,
            identity,
            scope="write:sandboxes",
            timeout=_CHANGE_TIMEOUT,
        )

    def delete(self, identity: str) -> None:
        self._connection.ask_or_none(
            f"deleting sandbox {identity}",
            self._api.delete_sandbox_without_preload_content,
            identity,
            scope="delete:sandboxes",
        )

    def preview(self, identity: str, port: int) -> Preview:
        answer = self._connection.ask(
            f"asking for port {port} of sandbox {identity}",
            self._api.get_port_preview_url_without_preload_content,
            identity,
            port,
        )
        return Preview(url=answer.text("url").rstrip("/"), token=answer.text("token"))

    # ── inside a sandbox ────────────────────────────────────────────────────────────────────

    def execute(self, sandbox: RemoteSandbox, command: str, *, timeout: float) -> Executed:
        """Run shell text. Sent once: nobody knows what a request without a reply has done."""
        answer = self._connection.ask(
            f"running a command in {sandbox.name}",
            self._processes(sandbox).execute_command_without_preload_content,
            self._toolbox_sdk.ExecuteRequest(command=command, timeout=int(timeout) + 1),
            is_repeatable=False,
            scope="write:sandboxes",
            timeout=(10.0, timeout + 15),
        )
        status = answer.integer("exitCode")
        status = answer.integer("code") if status is None else status
        return Executed(
            exit_code=-1 if status is None else status, result=answer.optional_text("result")
        )

    def entrypoint_log(self, sandbox: RemoteSandbox) -> str:
        """What the image's entry point wrote: it is a child of Daytona's own process there."""
        body = self._connection.fetch(
            f"reading the console of {sandbox.name}",
            self._processes(sandbox).get_entrypoint_logs_without_preload_content,
        )
        text = body.decode(errors="replace")
        try:
            value = parse_json(text)
        except ValueError:
            return text
        if isinstance(value, dict):
            streams = f"{value.get('stdout', '')}{value.get('stderr', '')}"
            return str(value.get("output") or streams)
        return str(value)

    def _processes(self, sandbox: RemoteSandbox) -> Any:
        address = sandbox.toolbox
        if not address:
            address = self._connection.ask(
                f"asking for the toolbox of {sandbox.name}",
                self._api.get_toolbox_proxy_url_without_preload_content,
                sandbox.id,
            ).text("url")
        host = f"{address.rstrip('/')}/{sandbox.id}"
        if host not in self._toolboxes:
            client = self._connection.open_client(self._toolbox_sdk, host)
            # This SDK leaves the header to its caller.
            client.default_headers["Authorization"] = (
                f"Bearer {self._connection.credentials.api_key}"
            )
            self._toolboxes[host] = self._toolbox_sdk.ProcessApi(client)
        return self._toolboxes[host]
