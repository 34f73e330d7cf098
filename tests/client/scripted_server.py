"""A server that does what a stream case says, on real sockets. See ``tests/cases/README.md``."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import struct
import threading
from collections.abc import Mapping
from typing import Any, Self

TIMEOUT_S = 10.0
"""Longest wait for anything; a case that hangs fails here."""


class ScriptedServer:
    """Serves the connections of one case, each request on a connection of its own. Entering starts it.

    Args:
        connections: As in the case.
        stream_id: What ``{stream_id}`` stands for; None takes it from the first request.
    """

    def __init__(self, connections: list[dict[str, Any]], *, stream_id: str | None = None) -> None:
        self.problems: list[str] = []
        """Where the client did what the case does not have."""
        self.cancels = 0
        self._connections = connections
        self._stream_id = stream_id
        self._served = 0
        self._cancelled = threading.Event()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._cancelled.set()
        # Closing a listening socket does not wake the thread in accept.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(TIMEOUT_S)
            assert not thread.is_alive(), "a connection did not end"
        self._listener.close()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def check(self) -> None:
        """Check that the client made exactly the requests of the case."""
        assert not self.problems, self.problems
        left = [each for each in self._connections[self._served :] if not each.get("optional")]
        assert not left, f"never asked for: {[each['expect'] for each in left]}"

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(TIMEOUT_S)
        with connection, contextlib.suppress(OSError):
            method, path, headers = _read_request(connection)
            if path.endswith("/cancel"):
                self._cancel(connection)
                return
            step = self._next(method, path, headers)
            if step is not None:
                self._reply(connection, step)

    def _cancel(self, connection: socket.socket) -> None:
        with self._lock:
            self.cancels += 1
        self._cancelled.set()
        body = json.dumps({"id": self._stream_id, "state": "cancelled"}).encode()
        connection.sendall(_head(200, {"Content-Type": "application/json"}) + _coded(body) + b"0\r\n\r\n")

    def _next(self, method: str, path: str, headers: Mapping[str, str]) -> dict[str, Any] | None:
        with self._lock:
            if self._stream_id is None:
                self._stream_id = headers.get("headrace-stream-id")
            if self._served >= len(self._connections):
                self.problems.append(f"one request too many: {method} {path}")
                return None
            step = self._connections[self._served]
            if not step.get("repeat"):
                self._served += 1
            elif self._served == len(self._connections) - 1:
                self._connections = [*self._connections[:-1], {**step, "optional": True}]
        self._compare(step["expect"], method, path, headers)
        return step

    def _compare(self, expected: dict[str, Any], method: str, path: str, headers: Mapping[str, str]) -> None:
        wanted = self._filled(expected["path"])
        is_same = path.startswith(wanted[:-1]) if wanted.endswith("*") else path == wanted
        if method != expected["method"] or not is_same:
            self.problems.append(f"{method} {path} instead of {expected['method']} {wanted}")
        for name, value in expected.get("headers", {}).items():
            if headers.get(name.lower()) != self._filled(value):
                self.problems.append(f"{name} is {headers.get(name.lower())!r} instead of {value!r}")

    def _reply(self, connection: socket.socket, step: dict[str, Any]) -> None:
        reply = step["reply"]
        if reply is not None:
            headers = {name: self._filled(value) for name, value in reply["headers"].items()}
            connection.sendall(_head(reply["status"], headers))
            for piece in reply["body"]:
                self._send_piece(connection, piece)
        match step["then"]:
            case "end":
                connection.sendall(b"0\r\n\r\n")
            case "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            case "hang":
                while connection.recv(65536):
                    pass

    def _send_piece(self, connection: socket.socket, piece: Any) -> None:
        if isinstance(piece, dict) and "until" in piece:
            assert self._cancelled.wait(TIMEOUT_S), "no cancel came"
        else:
            data = piece.encode() if isinstance(piece, str) else base64.b64decode(piece["base64"])
            connection.sendall(_coded(data))

    def _filled(self, text: str) -> str:
        return text.replace("{stream_id}", self._stream_id or "")


def _read_request(connection: socket.socket) -> tuple[str, str, dict[str, str]]:
    """Return method, path and headers (lower-case names) of a request, whose body is read too."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError("no request came")
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    return method, path, headers


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "Transfer-Encoding: chunked", "Connection: close", "", ""]).encode()


def _coded(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
