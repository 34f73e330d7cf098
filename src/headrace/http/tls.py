"""TLS towards clients."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from headrace.errors import SettingsError


def server_tls(cert: str, key: str, *, protocols: Sequence[str]) -> ssl.SSLContext:
    """Return what a server says of itself: TLS 1.2 or later, with Python's choice of ciphers.

    Args:
        cert: PEM file of the certificate, followed by those that lead to its root.
        key: PEM file of its private key, without a password.
        protocols: What ALPN offers (RFC 7301), best first.

    Raises:
        SettingsError: A file cannot be used; the message begins with the path of its setting.
    """
    _expect(cert, "server.tls_cert", b"-----BEGIN CERTIFICATE-----", "certificate")
    private_key = _expect(key, "server.tls_key", b"PRIVATE KEY-----", "private key")
    if b"ENCRYPTED" in private_key:
        raise SettingsError(f"server.tls_key: {key} has a password; give one without")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # RFC 9113 9.2.1 forbids it, and it makes a server work for nothing.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(list(protocols))
    try:
        # Without a password that is given OpenSSL would ask the terminal for one.
        context.load_cert_chain(cert, key, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise SettingsError(f"server.tls_key: {key} is not the key of the certificate {cert}") from error
        raise SettingsError(f"server.tls_cert, server.tls_key: {cert} and {key} cannot be used: {error}") from error
    return context


def _expect(path: str, setting: str, mark: bytes, what: str) -> bytes:
    try:
        found = Path(path).read_bytes()
    except OSError as error:
        raise SettingsError(f"{setting}: cannot read {path}: {error.strerror}") from error
    if mark not in found:
        raise SettingsError(f"{setting}: {path} has no {what} in PEM form")
    return found


def _no_password() -> NoReturn:
    raise SettingsError("server.tls_key: it has a password; give one without")
