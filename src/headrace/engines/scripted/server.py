"""The simulator: an OpenAI-compatible server that plays scripts, and remembers what its clients did.

::

    POST   /v1/chat/completions   plays the request's script, streamed or blocking
    POST   /v1/completions        the same as plain text
    GET    /v1/models
    GET    /simulator/requests    the last requests, newest last (``RequestRecord``)
    DELETE /simulator/requests    forgets them
    GET    /simulator/summary     counts (``Summary``)
    PUT    /simulator/keys        what requests get by their keys (``SimulatedKeys``); other keys get 401
    GET    /simulator/keys        the names of these keys, with counts (``KeyReport``)
    DELETE /simulator/keys        every key is good again
    PUT    /simulator/scripts     the scripts of the next requests, one each (``SimulatedScripts``)
    GET    /simulator/scripts     the next of them (``ScriptsReport``)
    DELETE /simulator/scripts     every request gets the default again

The script decides what a good request gets; a key may refuse it before that.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import ssl as ssl_module
import time
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

import msgspec

from headrace.engines.scripted.connection import Answer, Connection, HttpRequest
from headrace.engines.scripted.keys import KeyTable, Refusal
from headrace.engines.scripted.plan import plan_of
from headrace.engines.scripted.records import DEFAULT_MAX_RECORDS, Records, RequestRecord, shown_headers
from headrace.engines.scripted.request import read_request
from headrace.engines.scripted.script import Script
from headrace.engines.scripted.sequence import ScriptLike, ScriptSequence
from headrace.engines.scripted.steps import Reply, error_body
from headrace.engines.scripted.timetable import LoopTime, Timetable
from headrace.engines.scripted.wire import packets_of, packets_of_reply
from headrace.errors import ClientRequestError
from headrace.types.engine import Endpoint

_BACKLOG = 4096
_JSON = (("content-type", "application/json"),)


class SimulatorServer:
    """Serves while entered, on the running loop. Leaving it drops all connections."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        default: Script | None = None,
        scripts: Sequence[ScriptLike] = (),
        models: Sequence[str] = ("scripted",),
        ssl: ssl_module.SSLContext | None = None,
        max_records: int = DEFAULT_MAX_RECORDS,
    ) -> None:
        """Prepare; nothing is bound before entering.

        Args:
            host: Address to bind.
            port: Port to bind; 0 takes a free one, see ``port``.
            default: The script of requests that do not say otherwise.
            scripts: For the first requests instead of ``default``, one each, see ``ScriptSequence.set``.
            models: Names served; a request for another one is 404.
            ssl: Serves TLS.
            max_records: How many requests are remembered.

        Raises:
            ClientRequestError: One of ``scripts`` is wrong.
        """
        self._host = host
        self._port = port
        self._models = tuple(models)
        self._ssl = ssl
        self._connections: set[Connection] = set()
        self._all_closed = asyncio.Event()
        self._serial = 0
        self.records = Records(max_records)
        self.keys = KeyTable()
        self.scripts = ScriptSequence(default or Script())
        self.scripts.set(scripts)
        self._routes: dict[str, dict[str, Callable[[HttpRequest], Answer]]] = {
            **{f"/v1/{endpoint}": {"POST": partial(self._play, endpoint)} for endpoint in Endpoint},
            "/v1/models": {"GET": self._list_models},
            "/simulator/requests": {"GET": self._list_requests, "DELETE": self._forget_requests},
            "/simulator/summary": {"GET": self._summary},
            "/simulator/keys": {"GET": self._list_keys, "PUT": self._set_keys, "DELETE": self._forget_keys},
            "/simulator/scripts": {
                "GET": self._list_scripts,
                "PUT": self._set_scripts,
                "DELETE": self._forget_scripts,
            },
        }

    async def __aenter__(self) -> Self:
        """Bind and serve.

        Raises:
            OSError: The address cannot be bound.
        """
        loop = asyncio.get_running_loop()
        self.timetable = Timetable(LoopTime(loop))
        self._server = await loop.create_server(
            lambda: Connection(self, loop), self._host, self._port, ssl=self._ssl, backlog=_BACKLOG
        )
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.timetable.clear()
        self._all_closed.clear()
        for connection in tuple(self._connections):
            connection.abort()
        if self._connections:
            await self._all_closed.wait()
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        """The port, once entered."""
        return self._port

    @property
    def url(self) -> str:
        """Base URL for clients, with ``/v1``."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._ssl else 'http'}://{host}:{self._port}/v1"

    # For connections

    def opened(self, connection: Connection) -> None:
        self._connections.add(connection)
        self.records.connections += 1
        self.records.open_connections += 1

    def closed(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self.records.open_connections -= 1
        if not self._connections:
            self._all_closed.set()

    def answer(self, request: HttpRequest) -> Answer:
        """Return the answer to any request."""
        methods = self._routes.get(request.path)
        if methods is None:
            return _error(request, 404, f"no such path: {request.path}")
        route = methods.get(request.method)
        if route is None:
            allow = ", ".join(methods)
            return _error(request, 405, f"{request.path} takes {allow}", headers=(("allow", allow),))
        return route(request)

    # Routes

    def _play(self, endpoint: Endpoint, request: HttpRequest) -> Answer:
        self._serial += 1
        record = RequestRecord(
            endpoint=endpoint,
            body_bytes=len(request.body),
            headers=shown_headers(request.headers),
            connection=request.connection,
            request=request.number,
            accepted_at=request.accepted_s,
        )
        self.records.add(record)
        record.key, refusal = self.keys.judge(request.headers, now_s=request.accepted_s)
        if refusal is not None:
            return _refuse(request, refusal, record)
        record.script, base = self.scripts.take()
        try:
            asked, script = read_request(request.body, base, endpoint)
        except ClientRequestError as error:
            return _error(request, error.status, error.message, param=error.param, record=record)
        record.note_request(asked, script)
        if asked.model not in self._models:
            message = f"the model `{asked.model}` does not exist"
            return _error(request, 404, message, code="model_not_found", param="model", record=record)
        plan = plan_of(asked, script, serial=self._serial, created=int(time.time()))
        record.note_plan(plan)
        packets = packets_of(plan, keep_alive=request.keep_alive, is_http10=request.is_http10)
        return Answer(packets=packets, record=record, is_stamped=script.timestamps)

    def _list_models(self, request: HttpRequest) -> Answer:
        _, refusal = self.keys.judge(request.headers, now_s=request.accepted_s)
        if refusal is not None:
            return _refuse(request, refusal)
        models = [{"id": name, "object": "model", "created": 0, "owned_by": "headrace"} for name in self._models]
        return _json(request, {"object": "list", "data": models})

    def _list_requests(self, request: HttpRequest) -> Answer:
        return _json(request, self.records.all())

    def _forget_requests(self, request: HttpRequest) -> Answer:
        self.records.forget()
        return _answer(request, Reply(0, 204, b""))

    def _summary(self, request: HttpRequest) -> Answer:
        return _json(request, self.records.summary())

    def _list_keys(self, request: HttpRequest) -> Answer:
        return _json(request, {"keys": self.keys.reports()})

    def _set_keys(self, request: HttpRequest) -> Answer:
        try:
            self.keys.set(request.body, now_s=request.accepted_s)
        except ClientRequestError as error:
            return _error(request, error.status, error.message, param=error.param)
        return self._list_keys(request)

    def _forget_keys(self, request: HttpRequest) -> Answer:
        self.keys.forget()
        return _answer(request, Reply(0, 204, b""))

    def _list_scripts(self, request: HttpRequest) -> Answer:
        return _json(request, self.scripts.report())

    def _set_scripts(self, request: HttpRequest) -> Answer:
        try:
            self.scripts.set_json(request.body)
        except ClientRequestError as error:
            return _error(request, error.status, error.message, param=error.param)
        return self._list_scripts(request)

    def _forget_scripts(self, request: HttpRequest) -> Answer:
        self.scripts.forget()
        return _answer(request, Reply(0, 204, b""))


async def serve(
    host: str,
    port: int,
    default: Script | None = None,
    *,
    models: Sequence[str] = ("scripted",),
    ssl: ssl_module.SSLContext | None = None,
    on_ready: Callable[[SimulatorServer], None] | None = None,
) -> None:
    """Run a simulator until SIGINT, SIGTERM or cancellation. Best run by ``uvloop.run``.

    Args:
        host: Address to bind.
        port: Port to bind; 0 takes a free one.
        default: The script of requests that do not say otherwise.
        models: Names served.
        ssl: Serves TLS.
        on_ready: Called once it serves, for instance to print ``server.url``.

    Raises:
        OSError: The address cannot be bound.
    """
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    async with SimulatorServer(host, port, default=default, models=models, ssl=ssl) as server:
        with contextlib.ExitStack() as handlers:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, stopped.set)
                handlers.callback(loop.remove_signal_handler, number)
            if on_ready is not None:
                on_ready(server)
            await stopped.wait()


def _answer(
    request: HttpRequest, reply: Reply, record: RequestRecord | None = None, *, outcome: str = "completed"
) -> Answer:
    packets = packets_of_reply(reply, keep_alive=request.keep_alive, outcome=outcome)
    return Answer(packets=packets, record=record)


def _json(request: HttpRequest, value: Any) -> Answer:
    return _answer(request, Reply(0, 200, msgspec.json.encode(value), _JSON))


def _refuse(request: HttpRequest, refusal: Refusal, record: RequestRecord | None = None) -> Answer:
    kind = "rate_limit_error" if refusal.status == 429 else "invalid_request_error"
    body = error_body(refusal.message, type=kind, code=refusal.code)
    after = () if refusal.retry_after is None else (("retry-after", refusal.retry_after),)
    return _answer(request, Reply(0, refusal.status, body, (*_JSON, *after)), record, outcome="fault:key")


def _error(
    request: HttpRequest,
    status: int,
    message: str,
    *,
    code: str | None = None,
    param: str | None = None,
    headers: tuple[tuple[str, str], ...] = (),
    record: RequestRecord | None = None,
) -> Answer:
    body = error_body(message, type="invalid_request_error", code=code, param=param)
    return _answer(request, Reply(0, status, body, (*_JSON, *headers)), record)
