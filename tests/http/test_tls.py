"""TLS towards clients: what a server says of itself, and what is wrong with files."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme

from headrace.errors import SettingsError
from headrace.http.tls import server_tls

BOTH = ["h2", "http/1.1"]


class Files:
    """A certificate and its key, each in a file."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        issued = self.authority.issue_cert("127.0.0.1")
        self.cert, self.key = str(folder / "cert.pem"), str(folder / "key.pem")
        self.both = str(folder / "both.pem")
        Path(self.cert).write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(self.key)
        issued.private_key_and_cert_chain_pem.write_to_path(self.both)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


async def shake_hands(
    files: Files, server: ssl.SSLContext, *, offers: list[str], versions: tuple[ssl.TLSVersion, ssl.TLSVersion]
) -> tuple[str | None, str | None]:
    """Connect to a server and return the protocol agreed on, and the version of TLS."""

    async def close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    client = ssl.create_default_context()
    files.authority.configure_trust(client)
    client.set_alpn_protocols(offers)
    client.minimum_version, client.maximum_version = versions
    listening = await asyncio.start_server(close, "127.0.0.1", 0, ssl=server)
    async with listening, asyncio.timeout(10):
        port = listening.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
        agreed = writer.get_extra_info("ssl_object")
        writer.close()
        return agreed.selected_alpn_protocol(), agreed.version()


MODERN = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


@pytest.mark.parametrize(
    ("served", "offered", "agreed"),
    [
        (BOTH, ["http/1.1", "h2"], "h2"),
        (BOTH, ["http/1.1"], "http/1.1"),
        (["http/1.1"], BOTH, "http/1.1"),
        (BOTH, [], None),
    ],
)
async def test_the_protocol_is_agreed_on(
    files: Files, served: list[str], offered: list[str], agreed: str | None
) -> None:
    server = server_tls(files.cert, files.key, protocols=served)
    assert (await shake_hands(files, server, offers=offered, versions=MODERN))[0] == agreed


async def test_one_file_may_hold_both(files: Files) -> None:
    server = server_tls(files.both, files.both, protocols=BOTH)
    assert await shake_hands(files, server, offers=BOTH, versions=MODERN) == ("h2", "TLSv1.3")


async def test_tls_1_2_is_spoken(files: Files) -> None:
    versions = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)
    server = server_tls(files.cert, files.key, protocols=BOTH)
    assert await shake_hands(files, server, offers=BOTH, versions=versions) == ("h2", "TLSv1.2")


def test_nothing_older_is_spoken(files: Files) -> None:
    server = server_tls(files.cert, files.key, protocols=BOTH)
    assert server.minimum_version is ssl.TLSVersion.TLSv1_2
    assert server.options & ssl.OP_NO_RENEGOTIATION
    assert server.options & ssl.OP_NO_COMPRESSION


@pytest.mark.parametrize("setting", ["server.tls_cert", "server.tls_key"])
@pytest.mark.parametrize("fault", ["missing", "a folder", "empty", "of the other kind"])
def test_a_file_that_cannot_be_used_is_named_by_its_setting(
    files: Files, tmp_path: Path, setting: str, fault: str
) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_bytes(b"")
    paths = {"server.tls_cert": files.cert, "server.tls_key": files.key}
    other = files.key if setting == "server.tls_cert" else files.cert
    paths[setting] = {
        "missing": str(tmp_path / "none.pem"),
        "a folder": str(tmp_path),
        "empty": str(empty),
        "of the other kind": other,
    }[fault]
    with pytest.raises(SettingsError) as caught:
        server_tls(paths["server.tls_cert"], paths["server.tls_key"], protocols=BOTH)
    assert caught.value.message.startswith(f"{setting}: ")
    assert paths[setting] in caught.value.message


def test_the_key_of_another_certificate_is_refused(files: Files, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Files(tmp_path / "other")
    with pytest.raises(SettingsError, match=r"^server\.tls_key: .* is not the key of"):
        server_tls(files.cert, other.key, protocols=BOTH)


def test_a_key_with_a_password_is_refused_without_asking(files: Files) -> None:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(Path(files.key).read_bytes(), None)
    form = serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL
    for private_format in form:
        locked = key.private_bytes(
            serialization.Encoding.PEM, private_format, serialization.BestAvailableEncryption(b"secret")
        )
        Path(files.key).write_bytes(locked)
        with pytest.raises(SettingsError, match=r"^server\.tls_key: .* has a password"):
            server_tls(files.cert, files.key, protocols=BOTH)


def test_a_damaged_certificate_is_refused(files: Files) -> None:
    Path(files.cert).write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(SettingsError, match=r"^server\.tls_cert, server\.tls_key: "):
        server_tls(files.cert, files.key, protocols=BOTH)
