"""The daemon's API of each sandbox, as the proxy serves it below /toolbox: commands and files."""

from __future__ import annotations

import json
import math
import posixpath
import secrets
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import docker.errors
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tasks.standin import rules, wire
from tasks.standin.rules import Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from tasks.standin.api import Api
    from tasks.standin.containers import Result
    from tasks.standin.service import StandIn
    from tasks.standin.states import Sandbox

    Endpoint = Callable[[Request], Awaitable[Response]]

_QUIET: Final = "x-daytona-skip-last-activity-update"
_CODES: Final = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    404: "NOT_FOUND",
    408: "REQUEST_TIMEOUT",
    409: "CONFLICT",
}
#: $1: the file; makes the folders above it, as the daemon does.
_WRITE: Final = 'umask 022; mkdir -p -- "$(dirname -- "$1")" && cat >"$1"'
#: $1: a path. One line a file: name, kind, size, mode, owner, group, seconds.
_STAT: Final = r'stat -c "%n	%F	%s	%a	%U	%G	%Y	%A" -- "$@"'
_SESSIONS: Final = '"${HOME:-/root}"/.daytona/sessions/'


class Toolbox:
    def __init__(self, standin: StandIn, api: Api) -> None:
        self._s = standin
        self._api = api
        #: (sandbox, session) → command id → command.
        self._sessions: dict[tuple[str, str], dict[str, str]] = {}

    def routes(self) -> list[Route]:
        base = "/toolbox/{id}"
        session = base + "/process/session"
        table: list[tuple[str, str, Callable[[Request, Sandbox, Any], Response]]] = [
            ("POST", base + "/process/execute", self._execute),
            ("GET", session + "/entrypoint/logs", self._entrypoint_logs),
            ("GET", session, self._list_sessions),
            ("POST", session, self._create_session),
            ("GET", session + "/{session}", self._get_session),
            ("DELETE", session + "/{session}", self._delete_session),
            ("POST", session + "/{session}/exec", self._session_exec),
            ("GET", session + "/{session}/command/{command}", self._get_command),
            ("GET", session + "/{session}/command/{command}/logs", self._command_logs),
            ("POST", base + "/files/bulk-upload", self._upload),
            ("POST", base + "/files/upload-v2", self._upload),
            ("POST", base + "/files/bulk-download", self._download),
            ("GET", base + "/files/download", self._download_one),
            ("GET", base + "/files/info", self._info),
            ("GET", base + "/files", self._list),
            ("DELETE", base + "/files", self._delete),
            ("POST", base + "/files/folder", self._folder),
            ("POST", base + "/files/move", self._move),
            ("POST", base + "/files/permissions", self._permissions),
            ("GET", base + "/work-dir", self._work_dir),
            ("GET", base + "/user-home-dir", self._home_dir),
            ("GET", base + "/version", self._version),
        ]
        return [Route(path, self._guarded(do), methods=[verb]) for verb, path, do in table]

    def _guarded(self, do: Callable[[Request, Sandbox, Any], Response]) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            method, path = request.method, request.url.path
            try:
                self._api.authenticate(request)
                sandbox = self._s.store.sandbox(request.path_params["id"])
                if sandbox.state != "started" or sandbox.container is None:
                    # The proxy finds nothing listening, and says so without a word.
                    return Response(status_code=502)
                if request.headers.get(_QUIET) != "true":
                    sandbox.active = time.time()
                body = await _body(request)
                return await run_in_threadpool(do, request, sandbox, body)
            except Refused as refused:
                code = _CODES.get(refused.status, "INTERNAL_SERVER_ERROR")
                return wire.toolbox_error(method, path, refused.status, refused.message, code)
            except docker.errors.APIError as error:
                return wire.toolbox_error(method, path, 502, str(error.explanation), "BAD_GATEWAY")

        return endpoint

    # ── commands ────────────────────────────────────────────────────────────────────────────

    def _execute(self, _request: Request, sandbox: Sandbox, body: Any) -> Response:
        command = body.get("command")
        if not isinstance(command, str) or not command.strip():
            raise Refused(400, "bad request: command cannot be empty")
        env = body.get("envs") or {}
        rules.check_env_names(list(env))
        timeout = body.get("timeout") or None
        try:
            result = self._s.containers.script(
                _container(sandbox),
                command,
                mark=secrets.token_hex(8),
                cwd=body.get("cwd") or None,
                env=env,
                timeout=float(timeout) if timeout else None,
            )
        except TimeoutError:
            raise Refused(408, "request timeout: command execution timeout") from None
        output = result.output.decode(errors="replace")
        status = result.status
        if status in {126, 127} and output.startswith("OCI runtime exec failed"):
            status = -1
        return wire.checked(
            "ExecuteResponse", toolbox=True, value={"exitCode": status, "result": output}
        )

    def _entrypoint_logs(self, _request: Request, sandbox: Sandbox, _body: Any) -> Response:
        path = f"{_SESSIONS}entrypoint/entrypoint_command/output.log"
        output = self._sh(sandbox, f"cat {path}").output.decode(errors="replace")
        value = {"output": output, "stdout": output, "stderr": ""}
        return wire.checked("SessionCommandLogsResponse", value, toolbox=True)

    def _create_session(self, _request: Request, sandbox: Sandbox, body: Any) -> Response:
        name = body.get("sessionId")
        if not isinstance(name, str) or not name.replace("-", "").replace("_", "").isalnum():
            raise Refused(400, "bad request: sessionId")
        if (sandbox.id, name) in self._sessions:
            raise Refused(409, "conflict: session already exists")
        self._s.containers.daemon(_container(sandbox), "--session", name)
        self._sessions[sandbox.id, name] = {}
        wait = f"i=0; until [ -p {_SESSIONS}{name}/in ] || [ $i -gt 100 ]; do sleep 0.05;"
        self._sh(sandbox, wait + " i=$((i+1)); done")
        return Response(status_code=201)

    def _list_sessions(self, _request: Request, sandbox: Sandbox, _body: Any) -> Response:
        names = [name for owner, name in self._sessions if owner == sandbox.id]
        return JSONResponse([self._session(sandbox, name) for name in names])

    def _get_session(self, request: Request, sandbox: Sandbox, _body: Any) -> Response:
        value = self._session(sandbox, request.path_params["session"])
        return wire.checked("Session", value, toolbox=True)

    def _session(self, sandbox: Sandbox, name: str) -> dict[str, Any]:
        commands = self._commands(sandbox, name)
        told = [self._command(sandbox, name, command) for command in commands]
        return {"sessionId": name, "commands": told}

    def _delete_session(self, request: Request, sandbox: Sandbox, _body: Any) -> Response:
        name = request.path_params["session"]
        self._commands(sandbox, name)
        self._sh(sandbox, f"echo exit >{_SESSIONS}{name}/in; rm -rf {_SESSIONS}{name}")
        del self._sessions[sandbox.id, name]
        return Response(status_code=204)

    def _session_exec(self, request: Request, sandbox: Sandbox, body: Any) -> Response:
        name = request.path_params["session"]
        commands = self._commands(sandbox, name)
        text = body.get("command")
        if not isinstance(text, str) or not text.strip():
            raise Refused(400, "bad request: command cannot be empty")
        identity = secrets.token_hex(8)
        commands[identity] = text
        place = f"{_SESSIONS}{name}/{identity}"
        script = f"{{ {text}\n}} >{place}/output.log 2>&1\necho $? >{place}/exit_code\n"
        arguments = ["sh", "-c", f"mkdir -p {place} && cat >{_SESSIONS}{name}/in"]
        self._s.containers.exec(_container(sandbox), arguments, stdin=script.encode())
        if body.get("runAsync") or body.get("async"):
            return JSONResponse({"cmdId": identity}, 202)
        wait = f"until [ -s {place}/exit_code ]; do sleep 0.05; done"
        self._sh(sandbox, wait)
        output = self._sh(sandbox, f"cat {place}/output.log").output.decode(errors="replace")
        told = self._command(sandbox, name, identity)
        value = {
            "cmdId": identity,
            "exitCode": told.get("exitCode"),
            "output": output,
            "stdout": output,
            "stderr": "",
        }
        return wire.checked("SessionExecuteResponse", value, toolbox=True)

    def _get_command(self, request: Request, sandbox: Sandbox, _body: Any) -> Response:
        name, identity = request.path_params["session"], request.path_params["command"]
        return wire.checked("Command", self._command(sandbox, name, identity), toolbox=True)

    def _command(self, sandbox: Sandbox, name: str, identity: str) -> dict[str, Any]:
        commands = self._commands(sandbox, name)
        if identity not in commands:
            raise Refused(404, "not found: command")
        value: dict[str, Any] = {"id": identity, "command": commands[identity]}
        status = self._sh(sandbox, f"cat {_SESSIONS}{name}/{identity}/exit_code").output.strip()
        if status:
            value["exitCode"] = int(status)
        return value

    def _command_logs(self, request: Request, sandbox: Sandbox, _body: Any) -> Response:
        name, identity = request.path_params["session"], request.path_params["command"]
        self._command(sandbox, name, identity)
        path = f"{_SESSIONS}{name}/{identity}/output.log"
        output = self._sh(sandbox, f"cat {path}").output.decode(errors="replace")
        value = {"output": output, "stdout": output, "stderr": ""}
        return wire.checked("SessionCommandLogsResponse", value, toolbox=True)

    def _commands(self, sandbox: Sandbox, name: str) -> dict[str, str]:
        if (sandbox.id, name) not in self._sessions:
            raise Refused(404, "not found: session")
        return self._sessions[sandbox.id, name]

    # ── files ───────────────────────────────────────────────────────────────────────────────

    def _upload(self, _request: Request, sandbox: Sandbox, body: Any) -> Response:
        errors = []
        for path, content in body:
            done = self._sh(sandbox, _WRITE, path, stdin=content)
            if done.status:
                errors.append(f"{path}: {_last(done)}")
        if errors:
            return JSONResponse({"errors": errors}, 400)
        return JSONResponse({})

    def _download(self, _request: Request, sandbox: Sandbox, body: Any) -> Response:
        paths = body.get("paths")
        if not isinstance(paths, list) or not paths:
            raise Refused(400, "bad request: request body must be {paths: [...]}")
        boundary = f"DAYTONA-{secrets.token_hex(16)}"
        parts = [_part(boundary, path, self._read(sandbox, path)) for path in paths]
        body = b"".join(parts) + f"--{boundary}--\r\n".encode()
        return Response(body, media_type=f"multipart/form-data; boundary={boundary}")

    def _download_one(self, request: Request, sandbox: Sandbox, _body: Any) -> Response:
        found = self._read(sandbox, _path(request))
        if isinstance(found, Refused):
            raise found
        return Response(found, media_type="application/octet-stream")

    def _read(self, sandbox: Sandbox, path: str) -> bytes | Refused:
        done = self._sh(sandbox, 'cat -- "$1"', path)
        return done.output if done.status == 0 else _refusal(done)

    def _info(self, request: Request, sandbox: Sandbox, _body: Any) -> Response:
        return wire.checked(
            "FileInfo", toolbox=True, value=self._stat(sandbox, [_path(request)])[0]
        )

    def _list(self, request: Request, sandbox: Sandbox, _body: Any) -> Response:
        path = request.query_params.get("path") or "."
        names = self._must(sandbox, 'ls -A1 -- "$1/"', path).output.decode().splitlines()
        found = self._stat(sandbox, [posixpath.join(path, name) for name in names])
        return JSONResponse(found)

    def _stat(self, sandbox: Sandbox, paths: list[str]) -> list[dict[str, Any]]:
        if not paths:
            return []
        lines = self._must(sandbox, _STAT, *paths).output.decode(errors="replace").splitlines()
        return [_info(line) for line in lines]

    def _delete(self, request: Request, sandbox: Sandbox, _body: Any) -> Response:
        recursive = request.query_params.get("recursive") == "true"
        script = 'rm -r -- "$1"' if recursive else 'rm -d -- "$1"'
        self._must(sandbox, script, _path(request))
        return Response(status_code=204)

    def _folder(self, request: Request, sandbox: Sandbox, _body: Any) -> Response:
        mode = request.query_params.get("mode") or "755"
        self._must(sandbox, 'mkdir -p -- "$1" && chmod "$2" -- "$1"', _path(request), mode)
        return Response(status_code=201)

    def _move(self, request: Request, sandbox: Sandbox, _body: Any) -> Response:
        query = request.query_params
        given = query.get("source", ""), query.get("destination", "")
        self._must(sandbox, 'mv -- "$1" "$2"', *given)
        return Response()

    def _permissions(self, request: Request, sandbox: Sandbox, _body: Any) -> Response:
        query, path = request.query_params, _path(request)
        if mode := query.get("mode"):
            self._must(sandbox, 'chmod "$2" -- "$1"', path, mode)
        owner = ":".join(filter(None, (query.get("owner"), query.get("group"))))
        if owner:
            self._must(sandbox, 'chown "$2" -- "$1"', path, owner)
        return Response()

    def _work_dir(self, _request: Request, sandbox: Sandbox, _body: Any) -> Response:
        return JSONResponse({"dir": self._must(sandbox, "pwd").output.decode().strip()})

    def _home_dir(self, _request: Request, sandbox: Sandbox, _body: Any) -> Response:
        home = self._must(sandbox, 'echo "$HOME"').output.decode().strip()
        return JSONResponse({"dir": home})

    def _version(self, _request: Request, _sandbox: Sandbox, _body: Any) -> Response:
        return JSONResponse({"version": "stand-in"})

    def _sh(self, sandbox: Sandbox, script: str, *arguments: str, stdin: bytes = b"") -> Result:
        args = ["sh", "-c", script, "sh", *arguments]
        return self._s.containers.exec(_container(sandbox), args, stdin=stdin)

    def _must(self, sandbox: Sandbox, script: str, *arguments: str) -> Result:
        done = self._sh(sandbox, script, *arguments)
        if done.status:
            raise _refusal(done)
        return done


def _container(sandbox: Sandbox) -> str:
    return sandbox.container or ""


def _path(request: Request) -> str:
    path = request.query_params.get("path")
    if not path:
        raise Refused(400, "bad request: path is required")
    return path


def _refusal(done: Result) -> Refused:
    said = _last(done)
    if "No such file" in said:
        return Refused(404, f"not found: {said}")
    if "Permission denied" in said:
        return Refused(403, f"forbidden: {said}")
    return Refused(400, f"bad request: {said}")


def _last(done: Result) -> str:
    lines = (done.errors or done.output).decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"status {done.status}"


def _part(boundary: str, path: str, found: bytes | Refused) -> bytes:
    if isinstance(found, Refused):
        name, kind = "error", "application/json"
        code = "FILE_NOT_FOUND" if found.status == 404 else _CODES.get(found.status, "ERROR")
        told = {"statusCode": found.status, "message": found.message, "code": code}
        body = json.dumps(told).encode()
    else:
        name, kind, body = "file", "application/octet-stream", found
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; '
    # Quotes and anything beyond ASCII only go through in the extended form.
    plain = path.isascii() and path.isprintable() and '"' not in path and "\\" not in path
    head += f'filename="{path}"' if plain else f"filename*=UTF-8''{quote(path, safe='')}"
    return f"{head}\r\nContent-Type: {kind}\r\n\r\n".encode() + body + b"\r\n"


def _info(line: str) -> dict[str, Any]:
    path, kind, size, mode, owner, group, moment, letters = line.rsplit("\t", 7)
    return {
        "name": posixpath.basename(path),
        "path": path,
        "isDir": kind == "directory",
        "size": int(size),
        "mode": letters,
        "permissions": mode.zfill(4),
        "owner": owner,
        "group": group,
        "modTime": wire.when(float(moment)),
        "modifiedAt": wire.when(float(moment)),
    }


async def _body(request: Request) -> Any:
    """JSON, or what an upload's form holds: pairs of path and content."""
    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/"):
        raw = await request.body()
        try:
            return json.loads(raw) if raw else {}
        except ValueError:
            raise Refused(400, "bad request: not JSON") from None
    paths: dict[str, str] = {}
    files: dict[str, bytes] = {}
    async with request.form(max_files=math.inf, max_fields=math.inf) as form:
        for key, value in form.multi_items():
            index = key.partition(".")[0]
            if isinstance(value, UploadFile):
                files[index] = await value.read()
                paths.setdefault(index, value.filename or "")
            else:
                paths[index] = value
    return [(paths[index], content) for index, content in files.items()]
