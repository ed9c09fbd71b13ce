"""The daemon's requests about files, carried out by small scripts as the image's user."""

from __future__ import annotations

import json
import math
import posixpath
import secrets
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import daytona_toolbox_api_client as models
from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse, Response

from daytona_standin.errors import ApiRefusal
from daytona_standin.responses import (
    timestamp,
    toolbox_code,
    validated_list_response,
    validated_response,
)
from daytona_standin.strictness import ANY
from daytona_standin.surface import Operation
from daytona_standin.toolbox import refusal_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from daytona_standin.surface import Call
    from daytona_standin.toolbox import RunningSandbox, Toolbox

#: $1: the file. The daemon, too, makes the folders above it.
_WRITE: Final = 'umask 022; mkdir -p -- "$(dirname -- "$1")" && cat >"$1"'
#: One line for each path: name, kind, size, mode, owner, group, seconds, mode in letters.
_STAT: Final = r'stat -c "%n	%F	%s	%a	%U	%G	%Y	%A" -- "$@"'


class FileToolbox:
    """Whole folders and single files."""

    def __init__(self, toolbox: Toolbox) -> None:
        self._toolbox = toolbox

    def operations(self) -> list[Operation]:
        files = "/{sandboxId}/files"
        inside = self._toolbox.inside
        path = {"path": ANY}
        return [
            Operation("GET", files, inside(self._list), query={**path, "depth": ("1",)}),
            Operation("DELETE", files, inside(self._delete), query={**path, "recursive": ANY}),
            Operation("GET", f"{files}/info", inside(self._get_info), query=path),
            Operation("POST", f"{files}/folder", inside(self._create_folder),
                      query={**path, "mode": ANY}),
            Operation("POST", f"{files}/move", inside(self._move),
                      query={"source": ANY, "destination": ANY}),
            Operation("POST", f"{files}/permissions", inside(self._set_permissions),
                      query={**path, "mode": ANY, "owner": ANY, "group": ANY}),
            Operation("GET", "/{sandboxId}/work-dir", inside(self._get_work_dir)),
            Operation("GET", "/{sandboxId}/user-home-dir", inside(self._get_home_dir)),
            Operation("GET", "/{sandboxId}/version", inside(self._get_version)),
        ]  # fmt: skip

    def _get_info(self, call: Call, sandbox: RunningSandbox) -> Response:
        return validated_response(models.FileInfo, self._describe(sandbox, [_path(call)])[0])

    def _list(self, call: Call, sandbox: RunningSandbox) -> Response:
        folder = call.query("path", ".")
        names = self._toolbox.require_shell(sandbox, 'ls -A1 -- "$1/"', folder).text.splitlines()
        paths = [posixpath.join(folder, name) for name in names]
        return validated_list_response(models.FileInfo, self._describe(sandbox, paths))

    def _describe(self, sandbox: RunningSandbox, paths: list[str]) -> list[dict[str, Any]]:
        if not paths:
            return []
        return [
            _file_info(line)
            for line in self._toolbox.require_shell(sandbox, _STAT, *paths).text.splitlines()
        ]

    def _delete(self, call: Call, sandbox: RunningSandbox) -> Response:
        script = 'rm -r -- "$1"' if call.flag("recursive") else 'rm -d -- "$1"'
        self._toolbox.require_shell(sandbox, script, _path(call))
        return Response(status_code=204)

    def _create_folder(self, call: Call, sandbox: RunningSandbox) -> Response:
        script = 'mkdir -p -- "$1" && chmod "$2" -- "$1"'
        self._toolbox.require_shell(sandbox, script, _path(call), call.query("mode", "755"))
        return Response(status_code=201)

    def _move(self, call: Call, sandbox: RunningSandbox) -> Response:
        paths = call.query("source"), call.query("destination")
        self._toolbox.require_shell(sandbox, 'mv -- "$1" "$2"', *paths)
        return Response()

    def _set_permissions(self, call: Call, sandbox: RunningSandbox) -> Response:
        path = _path(call)
        if mode := call.query("mode"):
            self._toolbox.require_shell(sandbox, 'chmod "$2" -- "$1"', path, mode)
        owner, group = call.query("owner"), call.query("group")
        if owner or group:
            ownership = f"{owner}:{group}" if group else owner
            self._toolbox.require_shell(sandbox, 'chown "$2" -- "$1"', path, ownership)
        return Response()

    def _get_work_dir(self, _call: Call, sandbox: RunningSandbox) -> Response:
        folder = self._toolbox.require_shell(sandbox, "pwd").text.strip()
        return validated_response(models.WorkDirResponse, {"dir": folder})

    def _get_home_dir(self, _call: Call, sandbox: RunningSandbox) -> Response:
        folder = self._toolbox.require_shell(sandbox, 'echo "$HOME"').text.strip()
        return validated_response(models.UserHomeDirResponse, {"dir": folder})

    def _get_version(self, _call: Call, _sandbox: RunningSandbox) -> Response:
        return JSONResponse({"version": "stand-in"})


class FileTransferToolbox:
    """Uploads and downloads."""

    def __init__(self, toolbox: Toolbox) -> None:
        self._toolbox = toolbox

    def operations(self) -> list[Operation]:
        files = "/{sandboxId}/files"
        inside = self._toolbox.inside
        return [
            Operation("POST", f"{files}/bulk-upload", inside(self._upload),
                      read_body=_read_uploads),
            Operation("POST", f"{files}/bulk-download", inside(self._download_all),
                      model=models.FilesDownloadRequest, fields={"paths": ANY}),
            Operation("GET", f"{files}/download", inside(self._download), query={"path": ANY}),
        ]  # fmt: skip

    def _upload(self, call: Call, sandbox: RunningSandbox) -> Response:
        errors, files = [], []
        for path, content in call.body:
            result = self._toolbox.run_shell(sandbox, _WRITE, path, stdin=content)
            if result.status:
                errors.append(f"{path}: {result.last_line}")
            else:
                files.append({"path": path, "bytes": len(content)})
        value = {"files": files, **({"errors": errors} if errors else {})}
        return validated_response(models.UploadFilesResponse, value, status=400 if errors else 200)

    def _download_all(self, call: Call, sandbox: RunningSandbox) -> Response:
        paths = call.body["paths"]
        if not paths:
            raise ApiRefusal(400, "bad request: request body must be {paths: [...]}")
        boundary = f"DAYTONA-{secrets.token_hex(16)}"
        parts = [_form_part(boundary, path, self._read(sandbox, path)) for path in paths]
        form = b"".join(parts) + f"--{boundary}--\r\n".encode()
        return Response(form, media_type=f"multipart/form-data; boundary={boundary}")

    def _download(self, call: Call, sandbox: RunningSandbox) -> Response:
        content = self._read(sandbox, _path(call))
        if isinstance(content, ApiRefusal):
            raise content
        return Response(content, media_type="application/octet-stream")

    def _read(self, sandbox: RunningSandbox, path: str) -> bytes | ApiRefusal:
        result = self._toolbox.run_shell(sandbox, 'cat -- "$1"', path)
        return refusal_of(result) if result.status else result.output


def _path(call: Call) -> str:
    path = call.query("path")
    if not path:
        raise ApiRefusal(400, "bad request: path is required")
    return path


def _form_part(boundary: str, path: str, content: bytes | ApiRefusal) -> bytes:
    if isinstance(content, ApiRefusal):
        name, media_type = "error", "application/json"
        code = "FILE_NOT_FOUND" if content.status == 404 else toolbox_code(content.status)
        error = {"statusCode": content.status, "message": content.message, "code": code}
        body = json.dumps(error).encode()
    else:
        name, media_type, body = "file", "application/octet-stream", content
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; '
    # Quotes and anything beyond ASCII are only possible in the extended form.
    is_plain = path.isascii() and path.isprintable() and '"' not in path and "\\" not in path
    head += f'filename="{path}"' if is_plain else f"filename*=UTF-8''{quote(path, safe='')}"
    return f"{head}\r\nContent-Type: {media_type}\r\n\r\n".encode() + body + b"\r\n"


def _file_info(line: str) -> dict[str, Any]:
    """A `FileInfo` of a line that `_STAT` prints."""
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
        "modTime": timestamp(float(moment)),
        "modifiedAt": timestamp(float(moment)),
    }


async def _read_uploads(request: Request) -> list[tuple[str, bytes]]:
    """Path and content of each file in the form: `files[N].path` and `files[N].file`."""
    if not request.headers.get("content-type", "").startswith("multipart/"):
        raise ApiRefusal(400, "bad request: a multipart form is expected")
    paths: dict[str, str] = {}
    contents: dict[str, bytes] = {}
    async with request.form(max_files=math.inf, max_fields=math.inf) as form:
        for key, value in form.multi_items():
            index = key.partition(".")[0]
            if isinstance(value, UploadFile):
                contents[index] = await value.read()
                paths.setdefault(index, value.filename or "")
            else:
                paths[index] = value
    return [(paths[index], content) for index, content in contents.items()]
