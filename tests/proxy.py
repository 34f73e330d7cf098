"""Reverse proxies of ``deploy/`` as child processes, each with its configuration from there, and clients over TLS."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self

import trustme
from tests.system.wire import TIMEOUT_S, Exchange

DEPLOY = Path(__file__).parents[1] / "deploy"
NAME = "llm.example"
"""The name that the configurations serve."""

START_S = 20.0
STOP_S = 10.0


class Proxy:
    """A proxy in front of a relay; leaving the context ends it.

    Args:
        upstream_port: Where the relay listens.
        edits: Text of the configuration to replace, for what a test wants otherwise.
    """

    configuration: ClassVar[Path]
    """The file in ``deploy/``."""
    program: ClassVar[str]

    def __init__(self, upstream_port: int, *, edits: Mapping[str, str] | None = None) -> None:
        self.port = _free_port()
        self.upstream_port = upstream_port
        self._edits = dict(edits or {})
        self._authority = trustme.CA()
        self._folder = tempfile.TemporaryDirectory(prefix="headrace-proxy-")
        self._process: subprocess.Popen[bytes] | None = None

    # What each proxy says of itself

    @classmethod
    def binary(cls) -> str | None:
        """Return where the program is, also if Python's packages brought it; None where there is none."""
        places = [str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]
        return shutil.which(cls.program, path=os.pathsep.join(places))

    def substitutions(self) -> dict[str, str]:
        """Return what stands in the configuration and is otherwise on this machine: ports and paths."""
        raise NotImplementedError

    def command(self, binary: str, configuration: Path) -> Sequence[str]:
        """Return how it is started in the foreground; ``configuration`` is the file with the substitutions made."""
        raise NotImplementedError

    # What a test does

    @property
    def folder(self) -> Path:
        """Where it writes."""
        return Path(self._folder.name)

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def logs(self) -> str:
        """All that it has logged and printed."""
        return "".join(log.read_text(errors="replace") for log in sorted(self.folder.glob("*.log")))

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._stop()
        finally:
            self._folder.cleanup()

    def context(self, *, alpn: str = "http/1.1") -> ssl.SSLContext:
        """Return TLS settings that trust it."""
        context = ssl.create_default_context()
        self._authority.configure_trust(context)
        context.set_alpn_protocols([alpn])
        return context

    def connect(self, *, alpn: str = "http/1.1") -> ssl.SSLSocket:
        """Return a new connection, its TLS handshake done."""
        secured = self.context(alpn=alpn).wrap_socket(connect(self.port), server_hostname=NAME)
        assert secured.selected_alpn_protocol() == alpn
        return secured

    # Its life

    def _start(self) -> None:
        binary = self.binary()
        assert binary is not None, f"{self.program} is not installed"
        # Started by root, some of them work as another user, who must get at what is inside.
        self.folder.chmod(0o711)
        self._write_certificate()
        configuration = self.folder / self.configuration.name
        configuration.write_text(self._text())
        with (self.folder / "output.log").open("wb") as output:
            self._process = subprocess.Popen(
                self.command(binary, configuration),
                env={**os.environ, "HOME": str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._wait_until_it_listens(self._process)

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _write_certificate(self) -> None:
        certificate = self._authority.issue_cert(NAME)
        certificate.private_key_pem.write_to_path(self.folder / "privkey.pem")
        for part in certificate.cert_chain_pems:
            part.write_to_path(self.folder / "fullchain.pem", append=True)

    def _text(self) -> str:
        """Return the configuration for this machine."""
        text = self.configuration.read_text()
        for old, new in {**self.substitutions(), **self._edits}.items():
            assert old in text, f"{self.configuration} has no {old!r}"
            text = text.replace(old, new)
        return text

    def _wait_until_it_listens(self, process: subprocess.Popen[bytes]) -> None:
        until_s = time.monotonic() + START_S
        while process.poll() is None and time.monotonic() < until_s:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.005)
        raise AssertionError(f"{self.program} does not serve: {self.logs}")


def connect(port: int) -> socket.socket:
    """Return a new connection without TLS."""
    connected = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
    # As HTTP clients do: or the body, written after the head, would wait for a delayed acknowledgement, 40 ms.
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected


class TimedExchange(Exchange):
    """One request on a connection that stands already; knows when it was sent."""

    def __init__(
        self, connected: socket.socket, method: str, path: str, *, headers: Mapping[str, str], body: bytes = b""
    ) -> None:
        self._connection = http.client.HTTPConnection(NAME)
        self._connection.sock = connected
        self._response = None
        self.received = b""
        self.sent_at = time.monotonic()
        """By CLOCK_MONOTONIC, just before the request was written."""
        self._connection.request(method, path, body=body or None, headers={"accept-encoding": "identity", **headers})

    def wait_for(self, silence_s: float) -> None:
        """Wait so long for data, instead of ``TIMEOUT_S``."""
        sock = self._connection.sock
        assert sock is not None
        sock.settimeout(silence_s)


class HTTP2Exchange:
    """One POST over HTTP/2 (RFC 9113), with just enough of it: the request fits into one frame, and is stream 1."""

    def __init__(self, connected: ssl.SSLSocket, path: str, body: bytes) -> None:
        self._socket = connected
        self._buffer = b""
        self.received = b""
        """What has come of the response body."""
        fields = {
            ":method": "POST",
            ":scheme": "https",
            ":authority": NAME,
            ":path": path,
            "content-type": "application/json",
        }
        connected.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + _frame(_SETTINGS)
            + _frame(_HEADERS, flags=_END_HEADERS, stream=1, payload=b"".join(map(_field, fields.items())))
            + _frame(_DATA, flags=_END_STREAM, stream=1, payload=body)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it comes, until its end."""
        is_over = False
        while not is_over:
            kind, flags, payload = self._read_frame()
            assert kind not in (_RST_STREAM, _GOAWAY), (kind, payload)
            if kind == _DATA:
                self.received += payload
                is_over = bool(flags & _END_STREAM)
                yield payload
            elif kind == _SETTINGS and not flags & _ACK:
                self._socket.sendall(_frame(_SETTINGS, flags=_ACK))

    def read_until(self, wanted: bytes) -> None:
        """Read the body up to ``wanted``."""
        for _ in self.pieces():
            if wanted in self.received:
                return
        raise AssertionError(f"{wanted!r} never came: {self.received!r}")

    def cancel(self) -> None:
        """End the stream, and leave the connection open, as browsers do."""
        self._socket.sendall(_frame(_RST_STREAM, stream=1, payload=struct.pack(">I", _CANCEL)))

    def _read_frame(self) -> tuple[int, int, bytes]:
        head = self._take(9)
        return head[3], head[4], self._take(int.from_bytes(head[:3], "big"))

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            data = self._socket.recv(65536)
            assert data, "the connection was closed"
            self._buffer += data
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken


_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY = 0, 1, 3, 4, 7
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_CANCEL = 8


def _frame(kind: int, *, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _field(field: tuple[str, str]) -> bytes:
    """Return a header field as a literal that is not indexed (RFC 7541 6.2.2)."""
    name, value = (text.encode() for text in field)
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
