"""Keys in binary form, told by their first bytes."""

from __future__ import annotations

import re
from typing import Final

#: A DER length (X.690, 8.1.3) of up to four bytes.
_LENGTH: Final = rb"(?:[\x00-\x7f]|\x81.|\x82..|\x83...|\x80)"
_SEQUENCE: Final = rb"\x30" + _LENGTH
#: 1.2.840.113549.1 is the arc of PKCS (RFC 8017).
_PKCS: Final = rb"\x2a\x86\x48\x86\xf7\x0d\x01"

#: RSAPrivateKey and DSA's: version 0, then a large integer (RFC 8017, A.1.2).
_RSA: Final = _SEQUENCE + rb"\x02\x01[\x00\x01]\x02(?:\x81[\x40-\xff]|\x82[\x00-\x20]|[\x40-\x7f])"
#: PrivateKeyInfo: version, algorithm, octets (RFC 5958).
_PKCS8: Final = _SEQUENCE + rb"\x02\x01[\x00\x01]" + _SEQUENCE + rb"\x06[\x03-\x10]"
#: ECPrivateKey: version 1, octets of the key (RFC 5915).
_EC: Final = _SEQUENCE + rb"\x02\x01\x01\x04[\x10-\x48]"
#: EncryptedPrivateKeyInfo by PKCS #5 or #12 (RFC 8018).
_ENCRYPTED: Final = _SEQUENCE + _SEQUENCE + rb"\x06[\x09\x0a]" + _PKCS + rb"[\x05\x0c]"
#: PFX: version 3, then a ContentInfo of data or signed data (RFC 7292).
_PFX: Final = _SEQUENCE + rb"\x02\x01\x03" + _SEQUENCE + rb"\x06\x09" + _PKCS + rb"\x07"
#: A secret-key packet of version 3 to 6 (RFC 9580, 4.2 and 5.5.3).
_OPENPGP: Final = (
    rb"(?:\x95..|\x94.|\xc5(?:[\x00-\xbf]|[\xc0-\xdf].|\xff....))[\x03-\x06]....[\x01-\x1c]"
)
#: What it is → how such a file begins.
FORMS: Final = {
    "private key (DER)": re.compile(rb"%b|%b|%b|%b" % (_RSA, _PKCS8, _EC, _ENCRYPTED), re.DOTALL),
    "key store (PKCS #12)": re.compile(_PFX, re.DOTALL),
    "key store (Java)": re.compile(rb"(?:\xfe\xed\xfe\xed|\xce\xce\xce\xce)\x00\x00\x00[\x01\x02]"),
    "password store (KeePass)": re.compile(rb"\x03\xd9\xa2\x9a[\x65-\x67]\xfb\x4b\xb5"),
    "private key (OpenPGP)": re.compile(_OPENPGP, re.DOTALL),
    "key table (Kerberos)": re.compile(rb"\x05\x02\x00\x00\x00.|\x05\x04\x00.", re.DOTALL),
    "private key (OpenSSH)": re.compile(rb"openssh-key-v1\x00"),
}
_JAVA: Final = "key store (Java)"
_TRUSTED: Final = 2


def by_beginning(content: bytes) -> str | None:
    """The kind of key store or key that begins so, if any."""
    for kind, form in FORMS.items():
        if form.match(content):
            return None if kind == _JAVA and _is_trust_store(content) else kind
    return None


def _is_trust_store(content: bytes) -> bool:
    """Whether a Java key store holds certificates alone: tag, alias, time, type, certificate."""
    count, at = int.from_bytes(content[8:12]), 12
    for _ in range(count):
        if int.from_bytes(content[at : at + 4]) != _TRUSTED:
            return False
        at += 4 + 2 + int.from_bytes(content[at + 4 : at + 6]) + 8
        at += 2 + int.from_bytes(content[at : at + 2])
        at += 4 + int.from_bytes(content[at : at + 4])
        if at > len(content):
            return False
    return True
