"""One of the server's interfaces below a prefix: which request means which operation."""

from __future__ import annotations

import json
import sys
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool

from daytona_standin.errors import ApiRefusal, not_imitated
from daytona_standin.routes import Route, best_match
from daytona_standin.strictness import check_model, refuse_unimitated

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from daytona_standin.strictness import Imitated


@dataclass(frozen=True)
class Call:
    """A request that was understood. `body` is {} where none came."""

    request: Request
    parameters: Mapping[str, str]
    body: Any = field(default_factory=dict)

    def query(self, name: str, default: str = "") -> str:
        return self.request.query_params.get(name) or default

    def flag(self, name: str) -> bool:
        """A boolean of the query. Raises `ApiRefusal` (400) for what is neither true nor false."""
        return parse_flag(self.query(name, "false"), name)

    def number(self, name: str, default: int, *, low: int, high: int = 1 << 31) -> int:
        text = self.query(name, str(default)).removesuffix(".0")  # as some clients write it
        return parse_number(text, name, low=low, high=high)


def parse_flag(text: str, name: str) -> bool:
    if text not in {"true", "false"}:
        raise ApiRefusal(400, f"{name} must be a boolean value")
    return text == "true"


def parse_number(text: str, name: str, *, low: int = -(1 << 31), high: int = 1 << 31) -> int:
    try:
        number = int(text)
    except ValueError:
        raise ApiRefusal(400, f"Validation failed (numeric string is expected): {name}") from None
    if not low <= number <= high:
        raise ApiRefusal(400, f"{name} must be between {low} and {high}")
    return number


@dataclass(frozen=True)
class Operation:
    """One request that the stand-in carries out.

    `query` and `fields` name what of the query and of the JSON body is imitated, see `strictness`;
    `model` is the client's model of the body. `read_body` reads a body that is not JSON.
    """

    method: str
    path: str
    handler: Callable[[Call], Response]
    query: Imitated = field(default_factory=dict)
    model: Any = None
    fields: Imitated = field(default_factory=dict)
    read_body: Callable[[Request], Awaitable[Any]] | None = None

    @property
    def route(self) -> Route:
        return Route(self.method, self.path)


class Surface:
    """`respond` answers every request below `prefix`.

    `server_routes`: what the real server offers there. What of it is no operation answers 501;
    what the server does not know either answers 404, to strangers too unless
    `hides_unknown_routes`. `needs_json_type`: a body of another type is not read.
    """

    def __init__(
        self,
        prefix: str,
        operations: Iterable[Operation],
        *,
        authenticate: Callable[[Request], None],
        refuse: Callable[[Request, ApiRefusal], Response],
        server_routes: Iterable[Route] = (),
        hides_unknown_routes: bool = False,
        needs_json_type: bool = True,
    ) -> None:
        self._prefix = prefix
        self._operations = {operation.route.shape: operation for operation in operations}
        imitated_routes = [operation.route for operation in self._operations.values()]
        self._routes = imitated_routes + [
            route for route in server_routes if route.shape not in self._operations
        ]
        self._authenticate = authenticate
        self._refuse = refuse
        self._hides_unknown_routes = hides_unknown_routes
        self._needs_json_type = needs_json_type

    async def respond(self, request: Request) -> Response:
        try:
            return await self._respond(request)
        except ApiRefusal as refusal:
            return self._refuse(request, refusal)
        except ConnectionResetError:
            raise  # a fault demands that the connection breaks
        except Exception:  # noqa: BLE001 - a mistake of the stand-in itself: it goes on, and says so
            sys.stderr.write(f"{request.method} {request.url.path}\n{traceback.format_exc()}")
            return self._refuse(request, ApiRefusal(500, "An unexpected error occurred."))

    async def _respond(self, request: Request) -> Response:
        if self._hides_unknown_routes:
            self._authenticate(request)
        path = request.url.path
        raw_path: bytes = request.scope["raw_path"]
        match = best_match(
            self._routes, request.method, raw_path.decode("latin-1").removeprefix(self._prefix)
        )
        if match is None:
            raise ApiRefusal(404, f"Cannot {request.method} {path}")
        self._authenticate(request)
        route, parameters = match
        place = f"of {route.method} {self._prefix}{route.path}"
        operation = self._operations.get(route.shape)
        if operation is None:
            raise not_imitated(f"the request {place.removeprefix('of ')}")
        refuse_unimitated(dict(request.query_params), operation.query, place=place)
        if operation.read_body:
            body = await operation.read_body(request)
        else:
            body = await self._read_json(request)
            if operation.model:
                check_model(operation.model, body)
            refuse_unimitated(body, operation.fields, place=place)
        return await run_in_threadpool(operation.handler, Call(request, parameters, body))

    async def _read_json(self, request: Request) -> dict[str, Any]:
        is_json = "json" in request.headers.get("content-type", "")
        # The server does not even look at a body of another type.
        return await read_json(request) if is_json or not self._needs_json_type else {}


async def read_json(request: Request) -> dict[str, Any]:
    """The object in the body, {} for an empty body. Raises `ApiRefusal` (400)."""
    text = await request.body()
    if not text:
        return {}
    try:
        value = json.loads(text)
    except ValueError:
        raise ApiRefusal(400, "the body is not valid JSON") from None
    if not isinstance(value, dict):
        raise ApiRefusal(400, "the body must be a JSON object")
    return value
