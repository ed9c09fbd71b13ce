"""Who may ask: whoever has the key."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from daytona_standin.errors import ApiRefusal

if TYPE_CHECKING:
    from starlette.requests import Request


class ApiKey:
    """The one key there is, in Daytona's form."""

    def __init__(self) -> None:
        self.text = f"dtn_{secrets.token_hex(32)}"

    def matches(self, request: Request) -> bool:
        header = request.headers.get("authorization", "")
        return secrets.compare_digest(header.encode(), f"Bearer {self.text}".encode())

    def require(self, request: Request) -> None:
        """Raises `ApiRefusal` (401)."""
        if not self.matches(request):
            raise ApiRefusal(401, "Invalid credentials")
