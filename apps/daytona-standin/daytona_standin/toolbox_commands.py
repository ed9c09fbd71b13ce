"""The daemon's requests that run commands: single ones, and sessions that keep their shell."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

import daytona_toolbox_api_client as models
from starlette.responses import Response

from daytona_standin import rules
from daytona_standin.errors import ApiRefusal
from daytona_standin.responses import validated_list_response, validated_response
from daytona_standin.strictness import ANY
from daytona_standin.surface import Operation

if TYPE_CHECKING:
    from daytona_standin.surface import Call
    from daytona_standin.toolbox import RunningSandbox, Toolbox

#: Where the daemon keeps its sessions, for a shell.
_SESSIONS: Final = '"${HOME:-/root}"/.daytona/sessions/'
_ENTRYPOINT_LOG: Final = f"{_SESSIONS}entrypoint/entrypoint_command/output.log"
_NOT_FOLLOWED: Final = {"follow": ("false",)}


def _logs(output: str) -> Response:
    value = {"output": output, "stdout": output, "stderr": ""}
    return validated_response(models.SessionCommandLogsResponse, value)


def _command_text(call: Call) -> str:
    text = str(call.body["command"])
    if not text.strip():
        raise ApiRefusal(400, "bad request: command cannot be empty")
    return text


class CommandToolbox:
    """Single commands, and what the entry point has written."""

    def __init__(self, toolbox: Toolbox) -> None:
        self._toolbox = toolbox

    def operations(self) -> list[Operation]:
        process = "/{sandboxId}/process"
        inside = self._toolbox.inside
        return [
            Operation("POST", f"{process}/execute", inside(self._execute),
                      model=models.ExecuteRequest,
                      fields={"command": ANY, "cwd": ANY, "envs": ANY, "timeout": ANY}),
            Operation("GET", f"{process}/session/entrypoint/logs", inside(self._entrypoint_logs),
                      query=_NOT_FOLLOWED),
        ]  # fmt: skip

    def _execute(self, call: Call, sandbox: RunningSandbox) -> Response:
        command = _command_text(call)
        environment = call.body.get("envs") or {}
        rules.check_variable_names(environment)
        timeout = call.body.get("timeout") or None
        try:
            result = self._toolbox.containers.run_script(
                sandbox.container,
                command,
                mark=secrets.token_hex(8),
                cwd=call.body.get("cwd") or None,
                environment=environment,
                timeout=float(timeout) if timeout else None,
            )
        except TimeoutError:
            raise ApiRefusal(408, "request timeout: command execution timeout") from None
        status = result.status
        if status in {126, 127} and result.text.startswith("OCI runtime exec failed"):
            status = -1  # the engine could not start the shell
        return validated_response(
            models.ExecuteResponse, {"exitCode": status, "result": result.text}
        )

    def _entrypoint_logs(self, _call: Call, sandbox: RunningSandbox) -> Response:
        return _logs(self._toolbox.run_shell(sandbox, f"cat {_ENTRYPOINT_LOG}").text)


class SessionToolbox:
    """Sessions: shells that read commands from a pipe, one after the other."""

    def __init__(self, toolbox: Toolbox) -> None:
        self._toolbox = toolbox
        #: (sandbox, session) → command id → command.
        self._sessions: dict[tuple[str, str], dict[str, str]] = {}

    def operations(self) -> list[Operation]:
        sessions = "/{sandboxId}/process/session"
        single = sessions + "/{sessionId}"
        command = single + "/command/{commandId}"
        inside = self._toolbox.inside
        return [
            Operation("GET", sessions, inside(self._list)),
            Operation("POST", sessions, inside(self._create), model=models.CreateSessionRequest,
                      fields={"sessionId": ANY}),
            Operation("GET", single, inside(self._get)),
            Operation("DELETE", single, inside(self._delete)),
            Operation("POST", f"{single}/exec", inside(self._execute),
                      model=models.SessionExecuteRequest,
                      fields={"command": ANY, "runAsync": ANY, "async": ANY,
                              "suppressInputEcho": (False,)}),
            Operation("GET", command, inside(self._get_command)),
            Operation("GET", f"{command}/logs", inside(self._command_logs), query=_NOT_FOLLOWED),
        ]  # fmt: skip

    def _create(self, call: Call, sandbox: RunningSandbox) -> Response:
        name = str(call.body["sessionId"])
        if not name.replace("-", "").replace("_", "").isalnum():
            raise ApiRefusal(400, "bad request: sessionId")
        if (sandbox.id, name) in self._sessions:
            raise ApiRefusal(409, "conflict: session already exists")
        self._toolbox.containers.start_daemon_helper(sandbox.container, "--session", name)
        self._sessions[sandbox.id, name] = {}
        wait = f"i=0; until [ -p {_SESSIONS}{name}/in ] || [ $i -gt 100 ]; do sleep 0.05;"
        self._toolbox.run_shell(sandbox, wait + " i=$((i+1)); done")
        return Response(status_code=201)

    def _list(self, _call: Call, sandbox: RunningSandbox) -> Response:
        names = [name for owner, name in self._sessions if owner == sandbox.id]
        sessions = [self._session_json(sandbox, name) for name in names]
        return validated_list_response(models.Session, sessions)

    def _get(self, call: Call, sandbox: RunningSandbox) -> Response:
        return validated_response(
            models.Session, self._session_json(sandbox, call.parameters["sessionId"])
        )

    def _delete(self, call: Call, sandbox: RunningSandbox) -> Response:
        name = call.parameters["sessionId"]
        self._commands(sandbox, name)
        self._toolbox.run_shell(
            sandbox, f"echo exit >{_SESSIONS}{name}/in; rm -rf {_SESSIONS}{name}"
        )
        del self._sessions[sandbox.id, name]
        return Response(status_code=204)

    def _execute(self, call: Call, sandbox: RunningSandbox) -> Response:
        name = call.parameters["sessionId"]
        commands = self._commands(sandbox, name)
        command = _command_text(call)
        identity = secrets.token_hex(8)
        commands[identity] = command
        folder = f"{_SESSIONS}{name}/{identity}"
        script = f"{{ {command}\n}} >{folder}/output.log 2>&1\necho $? >{folder}/exit_code\n"
        self._toolbox.run_shell(
            sandbox, f"mkdir -p {folder} && cat >{_SESSIONS}{name}/in", stdin=script.encode()
        )
        if call.body.get("runAsync") or call.body.get("async"):
            return validated_response(
                models.SessionExecuteResponse, {"cmdId": identity}, status=202
            )
        self._toolbox.run_shell(sandbox, f"until [ -s {folder}/exit_code ]; do sleep 0.05; done")
        output = self._toolbox.run_shell(sandbox, f"cat {folder}/output.log").text
        value = {
            "cmdId": identity,
            "exitCode": self._command_json(sandbox, name, identity).get("exitCode"),
            "output": output,
            "stdout": output,
            "stderr": "",
        }
        return validated_response(models.SessionExecuteResponse, value)

    def _get_command(self, call: Call, sandbox: RunningSandbox) -> Response:
        name, identity = call.parameters["sessionId"], call.parameters["commandId"]
        return validated_response(models.Command, self._command_json(sandbox, name, identity))

    def _command_logs(self, call: Call, sandbox: RunningSandbox) -> Response:
        name, identity = call.parameters["sessionId"], call.parameters["commandId"]
        self._command_json(sandbox, name, identity)
        path = f"{_SESSIONS}{name}/{identity}/output.log"
        return _logs(self._toolbox.run_shell(sandbox, f"cat {path}").text)

    def _session_json(self, sandbox: RunningSandbox, name: str) -> dict[str, Any]:
        commands = self._commands(sandbox, name)
        shown_commands = [self._command_json(sandbox, name, identity) for identity in commands]
        return {"sessionId": name, "commands": shown_commands}

    def _command_json(self, sandbox: RunningSandbox, name: str, identity: str) -> dict[str, Any]:
        """A `Command`, with its exit status once it has ended."""
        commands = self._commands(sandbox, name)
        if identity not in commands:
            raise ApiRefusal(404, "not found: command")
        value: dict[str, Any] = {"id": identity, "command": commands[identity]}
        path = f"{_SESSIONS}{name}/{identity}/exit_code"
        status = self._toolbox.run_shell(sandbox, f"cat {path}").output.strip()
        if status:
            value["exitCode"] = int(status)
        return value

    def _commands(self, sandbox: RunningSandbox, name: str) -> dict[str, str]:
        if (sandbox.id, name) not in self._sessions:
            raise ApiRefusal(404, "not found: session")
        return self._sessions[sandbox.id, name]
