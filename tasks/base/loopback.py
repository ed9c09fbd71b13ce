"""One rule for every program, in the image and on the host: loopback needs no proxy.

Programs read the variables `no_proxy` and `NO_PROXY`, and differ on which of the two they prefer
(curl and Python the first, many others the second), so both always have the same names. This is a
module of its own, and small, since each shell in a sandbox waits for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Some programs read networks and some do not. `[::1]` would make httpx 0.28 raise an error.
HOSTS: Final = ("localhost", "127.0.0.1", "127.0.0.0/8", "::1")
_EXCEPTIONS: Final = ("no_proxy", "NO_PROXY")


def exempt(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables to set beside `environment` so that loopback is reached without its proxies.

    Empty where no proxy is set. What the user exempted stays exempted; `*` exempts everything.
    """
    proxies = [name for name, value in environment.items() if value and _names_a_proxy(name)]
    if not proxies:
        return {}
    entries = [
        entry
        for name in _EXCEPTIONS
        for entry in re.split(r"[\s,]+", environment.get(name, ""))
        if entry
    ]
    # Programs know the star only where it stands alone.
    entries = ["*"] if "*" in entries else list(dict.fromkeys([*entries, *HOSTS]))
    return dict.fromkeys(_EXCEPTIONS, ",".join(entries))


def _names_a_proxy(name: str) -> bool:
    """Also `npm_config_https_proxy` and the like, whose programs read `no_proxy` as well."""
    lowered = name.lower()
    return lowered.endswith("_proxy") and lowered != "no_proxy"
