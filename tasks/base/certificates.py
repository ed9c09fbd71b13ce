"""The certificate authorities to trust where a proxy inspects TLS: by the build, and by whatever
asks the outside.

The bundle is looked for in this order:

1. `SANDBOX_CA_BUNDLE`: a PEM file, which must exist; set but empty means "none".
2. The variables of other tools: `SSL_CERT_FILE`, `REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE` (whole
   bundles), then `NODE_EXTRA_CA_CERTS` (which may be the proxy's certificate alone).
3. The system's bundle, when an administrator has added certificates to it.

Without any of them, the certificates that come with the image or the machine are enough.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tasks.base.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE: Final = "SANDBOX_CA_BUNDLE"
OTHER_VARIABLES: Final = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
)
#: Where administrators put certificates → the bundle that then has them.
SYSTEM_BUNDLES: Final = (
    ("/usr/local/share/ca-certificates", "/etc/ssl/certs/ca-certificates.crt"),  # Debian, Alpine
    ("/etc/pki/ca-trust/source/anchors", "/etc/pki/tls/certs/ca-bundle.crt"),  # Fedora, RHEL
    ("/etc/ca-certificates/trust-source/anchors", "/etc/ssl/certs/ca-certificates.crt"),  # Arch
)


def find_ca_bundle(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The PEM bundle to pass to the build, or None. Raises `BadInput` for a wrong variable."""
    bundle, _ = find_with_reason(environment)
    return bundle


def find_with_reason(
    environment: Mapping[str, str] = os.environ,
    system: tuple[tuple[str, str], ...] = SYSTEM_BUNDLES,
) -> tuple[Path | None, str]:
    if VARIABLE in environment:
        value = environment[VARIABLE]
        if not value:
            return None, f"{VARIABLE} is empty"
        if not _is_bundle(Path(value)):
            raise BadInput(
                f"{VARIABLE}={value} is not a readable PEM file",
                fix=f"give a file of PEM certificates, or unset {VARIABLE}",
            )
        return Path(value).absolute(), VARIABLE
    for name in OTHER_VARIABLES:
        path = environment.get(name)
        if path and _is_bundle(Path(path)):
            return Path(path).absolute(), name
    for anchors, bundle in system:
        if any(Path(anchors).glob("**/*")) and _is_bundle(Path(bundle)):
            return Path(bundle), f"certificates were added in {anchors}"
    return None, "the image's own certificates"


def _is_bundle(path: Path) -> bool:
    try:
        return path.is_file() and b"-----BEGIN" in path.read_bytes()
    except OSError:
        return False
