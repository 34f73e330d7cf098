"""What belongs to one owner does not exist for another: every endpoint and every message, tried with every kind of key.

For somebody else's key an answer must be the one that a stream gets which does not exist: the same status, the same header
names, and the same body once the id is replaced. For no good key it is one and the same 401.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import socket
import sqlite3
import sys
import typing
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.processes import Relay, Simulator
from tests.system.haul import rows, store_files
from tests.system.keyed import Key, Keyring, bad_callers, bearer, first_key
from tests.system.wire import JSON, Answer, Exchange, ask, begin, chat, chat_body, wait_for
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from headrace.http.app import ROUTES, Access
from headrace.http.socket import TICKET_SUBPROTOCOL
from headrace.protocol.duplex import SUBPROTOCOL, ClientMessage

OWNER, OTHER = "alice-owner", "bob-owner"
LISTED_ORIGIN = "https://app.example"
TAG = "alices-project"
ID_CHARACTERS = 32
UNAUTHORIZED, MALFORMED = 4401, 4400
ENDLESS = {"itl_ms": 100, "tokens": 100_000}
REPEATED_KEY = "alices-idempotency-key"
CHAT_PATHS = ("/v1/chat/completions", "/v1/completions", "/api/v1/chat/stream", "/v1/completions/stream")


def new_id(kind: str) -> str:
    """Return an id that a client may propose; all have one length, so that answers with them do."""
    return f"{kind}-{secrets.token_hex(ID_CHARACTERS)}"[:ID_CHARACTERS]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way to ask an endpoint. ``ID`` stands for a stream's id, ``KEY`` for a key's."""

    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    owner: int = 200
    """What the stream's owner gets."""
    other: int | None = None
    """What another owner gets; None: the same status as the owner."""
    tells: bool = False
    """Whether another owner can tell from the status that the id is taken."""
    changes: bool = False
    """Whether it changes the stream, for who may."""

    def names_a_stream(self, path: str) -> bool:
        return "ID" in f"{path}{self.query}{self.headers}" or "{stream_id}" in path


def generation(**options: Any) -> tuple[Case, ...]:
    """Return the cases of a route that starts streams under ids that clients may propose."""
    body = chat_body(simulate={"tokens": 2}, **options)
    taken = Case(headers={**JSON, "headrace-stream-id": "ID"}, body=body, owner=409, tells=True)
    return (Case(headers=JSON, body=body), taken)


PROMPT = b'{"model": "sim", "prompt": "hi", "max_tokens": 2}'
COMPLETION = b'{"model": "sim", "prompt": "hi", "max_tokens": 2, "simulate": {"tokens": 2}}'
PERCEIVED = b'{"reconnects": 7, "transport": "fetch"}'
CASES: dict[tuple[str, str], tuple[Case, ...]] = {
    ("POST", "/v1/chat/completions"): (*generation(), *generation(stream=False)),
    ("POST", "/v1/completions"): (
        Case(headers=JSON, body=COMPLETION),
        Case(headers={**JSON, "headrace-stream-id": "ID"}, body=COMPLETION, owner=409, tells=True),
    ),
    ("POST", "/api/v1/chat/stream"): generation(),
    ("POST", "/v1/completions/stream"): (
        Case(headers=JSON, body=PROMPT),
        Case(headers={**JSON, "last-event-id": "ID:0"}, body=PROMPT, other=404),
        Case(headers={**JSON, "last-event-id": "ID:-1"}, body=PROMPT, other=404),
    ),
    ("GET", "/v1/completions/stream"): (
        Case(query="?prompt=hi&model=sim&max_tokens=2"),
        Case(query="?prompt=hi&model=sim", headers={"last-event-id": "ID:0"}, other=404),
        Case(query="?prompt=hi&model=sim", headers={"last-event-id": "ID:-1"}, other=404),
        Case(query="?prompt=hi&ticket=tkt_ID", owner=401),
        Case(query="?ticket=tkt_ID", headers={"last-event-id": "ID:0"}, owner=401),
        Case(query="?ticket=", headers={"last-event-id": "ID:0"}, owner=401),
    ),
    ("POST", "/v1/tickets"): (Case(owner=201),),
    ("GET", "/v1/models"): (Case(),),
    ("GET", "/v1/streams"): (
        Case(),
        Case(query="?limit=100"),
        Case(query="?state=in_progress"),
        Case(query="?state=completed"),
        Case(query=f"?owner={OWNER}"),
        Case(query="?owner="),
        Case(query="?after=ID", other=400),
        Case(query=f"?owner={OWNER}&after=ID&limit=100", other=400),
    ),
    ("GET", "/v1/streams/{stream_id}"): (Case(other=404), Case(query=f"?owner={OWNER}", other=404)),
    ("GET", "/v1/streams/{stream_id}/events"): (
        Case(other=404),
        Case(query="?after=0", other=404),
        Case(query="?after=4000000000", owner=400, other=404),
        Case(headers={"accept": "application/x-ndjson"}, other=404),
        Case(headers={"last-event-id": "0"}, other=404),
    ),
    ("GET", "/v1/streams/{stream_id}/timeline"): (
        Case(other=404),
        Case(query="?after=4000000000", owner=400, other=404),
    ),
    ("POST", "/v1/streams/{stream_id}/cancel"): (Case(other=404, changes=True),),
    ("POST", "/v1/streams/{stream_id}/perceived"): (
        Case(headers=JSON, body=b"{}", owner=400),
        Case(headers=JSON, body=PERCEIVED, owner=204, other=404, changes=True),
    ),
    ("DELETE", "/v1/streams/{stream_id}"): (Case(owner=204, other=404, changes=True),),
    ("GET", "/v1/me"): (Case(),),
    ("GET", "/v1/engines"): (Case(owner=403),),
    ("GET", "/v1/usage"): (
        Case(),
        Case(query="?by=owner,key,model,state"),
        Case(query="?by=engine,day,tag:project"),
        Case(query="?by=owner,key&format=csv"),
        Case(query="?by=owner", headers={"accept": "text/csv"}),
        Case(query=f"?owner={OWNER}&by=owner,tag:project"),
        Case(query=f"?tag=project:{TAG}&by=owner,tag:project"),
        Case(query="?key=KEY&by=key"),
    ),
    ("POST", "/v1/keys"): (Case(headers=JSON, body=b'{"owner": "x", "role": "admin"}', owner=403),),
    ("GET", "/v1/keys"): (Case(owner=403),),
    ("GET", "/v1/keys/{key_id}"): (Case(owner=403),),
    ("POST", "/v1/keys/{key_id}/rotate"): (Case(headers=JSON, body=b'{"keep_old_for": 0}', owner=403),),
    ("DELETE", "/v1/keys/{key_id}"): (Case(owner=403),),
    ("GET", "/healthz"): (Case(),),
    ("GET", "/readyz"): (Case(),),
    ("GET", "/metrics"): (Case(),),
    **{(method, path): (Case(),) for method in ("GET", "HEAD") for path in ("/", "/favicon.svg", "/assets/{name}")},
}

MESSAGES: dict[str, dict[str, Any]] = {
    "auth": {},
    "start": {
        "stream": "ID",
        "request": {"model": "sim", "messages": [{"role": "user", "content": "hi"}], "simulate": {"tokens": 2}},
    },
    "resume": {"stream": "ID"},
    "stop": {"stream": "ID"},
    "detach": {"stream": "ID"},
    "credit": {"stream": "ID", "credit": 5},
    "ping": {"id": "ID"},
}
"""Of clients, by type."""

WAYS = ("header", "key", "ticket", "subprotocol")
"""How somebody may say who it is on a WebSocket."""


SHARING = """
[models.common]
shares = true
cache = "shared"
[models.common.engines.only]
engine = "default"
model = "sim"
"""
"""Settings of a model whose answers are shared: by one owner's requests while they run, by everybody's afterwards."""

ENDED = ("ended", "repeated")
"""Kinds of streams that have."""


@dataclass(kw_only=True)
class Site:
    """A relay with two owners, one of whom has streams in every state.

    Two of them share the log of another one: ``joined`` that of ``running``, and ``repeated`` that of ``ended``.
    """

    relay: Relay
    keyring: Keyring
    owner: Key
    other: Key
    bad: dict[str, dict[str, str]]
    streams: dict[str, str]
    """Ids by kind."""
    asset: str
    """Name of a file of the page."""

    @property
    def port(self) -> int:
        return self.relay.port

    @property
    def admin(self) -> dict[str, str]:
        return bearer(self.keyring.admin)

    def ask(self, method: str, path: str, case: Case, headers: dict[str, str], stream_id: str) -> Answer:
        """Send a request of the table; of one that follows a stream that runs only the first piece is read."""
        path = path.format(stream_id="ID", key_id="KEY", name=self.asset) + case.query
        path = path.replace("ID", stream_id).replace("KEY", self.owner.id)
        sent = {name: value.replace("ID", stream_id) for name, value in case.headers.items()}
        with Exchange(self.port, method, path, headers={**sent, **headers}, body=case.body) as exchange:
            is_endless = "headrace-stream-id" in exchange.headers and stream_id not in self.ended_ids
            body = next(exchange.pieces(), b"") if is_endless else exchange.read()
            return Answer(status=exchange.status, headers=exchange.headers, body=body)

    @property
    def ended_ids(self) -> list[str]:
        return [self.streams[kind] for kind in ENDED]

    def view(self, kind: str) -> dict[str, Any]:
        answer = ask(self.port, "GET", f"/v1/streams/{self.streams[kind]}", headers=self.owner.header)
        assert answer.status == 200, (kind, answer.body)
        view: dict[str, Any] = answer.json
        return view

    def secrets_of_owner(self) -> list[str]:
        """Return words that nobody else's answer may hold."""
        views = [self.view(kind) for kind in self.streams]
        return [
            OWNER,
            TAG,
            REPEATED_KEY,
            self.owner.id,
            *self.streams.values(),
            *(view["request_id"] for view in views),
        ]


def normal(answer: Answer, stream_id: str) -> tuple[Any, ...]:
    """Return all of an answer but what is of its moment, and the id."""
    passing = {"date", "x-request-id"}
    headers = {name: value for name, value in answer.headers.items() if name not in passing}
    return answer.status, sorted(headers.items()), answer.body.replace(stream_id.encode(), b"ID")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    store = tmp_path_factory.mktemp("keyed") / "streams.db"
    config = store.parent / "headrace.toml"
    config.write_text(SHARING)
    admin = first_key(store)
    environ = {"HEADRACE_SERVER__CORS_ORIGINS": LISTED_ORIGIN, "HEADRACE_TIMEOUTS__COMMIT_WAIT": "0.5s"}
    with ExitStack() as stack:
        simulator = stack.enter_context(Simulator("--model", "scripted"))
        relay = stack.enter_context(
            Relay(None, store, "--config", str(config), "--upstream", simulator.url, environ=environ)
        )
        keyring = Keyring(relay.port, admin)
        owner, other = keyring.make("owner", OWNER, tags={"project": TAG}), keyring.make("other", OTHER)
        bad = bad_callers(keyring, owner=OWNER, good=owner.text)
        streams = {kind: new_id(kind) for kind in ("ended", "repeated", "running", "joined", "degraded")}

        def start(kind: str, script: dict[str, Any], *, key: str | None = None, **fields: Any) -> Exchange:
            headers = {**owner.header, "headrace-stream-id": streams[kind]}
            if key is not None:
                headers["idempotency-key"] = key
            return stack.enter_context(chat(relay.port, headers=headers, simulate=script, **fields))

        for kind in ENDED:
            start(kind, {"tokens": 3}, key=REPEATED_KEY).read()
        start("degraded", ENDLESS).read_events(2)
        _degrade(store, relay.port, streams["degraded"], owner)
        while True:
            common: dict[str, Any] = {"model": "common", "temperature": 0, "content": streams["running"]}
            reader = start("running", ENDLESS, **common)
            reader.read_events(2)
            if "headrace-durability" not in reader.headers:
                break
            # The store was still slow from its pause. What is not in it is not in lists either.
            streams["running"] = new_id("running")
        start("joined", ENDLESS, **common).read_events(2)
        [asset, *_] = re.findall(r"/assets/([\w.-]+)", relay.get("/").decode())
        yield Site(relay=relay, keyring=keyring, owner=owner, other=other, bad=bad, streams=streams, asset=asset)


def _degrade(store: Path, port: int, stream_id: str, owner: Key) -> None:
    """Let a stream go on without the store, by keeping the store from writing for a moment."""
    path = f"/v1/streams/{stream_id}"
    with writes_held(store):
        wait_for(lambda: b'"degraded"' in ask(port, "GET", path, headers=owner.header).body, what="a degraded stream")


@contextmanager
def writes_held(store: Path) -> Iterator[None]:
    """Keep a store from writing, as another process can; it still reads."""
    with closing(sqlite3.connect(store, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


# --- the table


def test_the_table_knows_every_route_and_every_message() -> None:
    assert CASES.keys() == {(route.method, route.path) for route in ROUTES}
    tags = {kind.__struct_config__.tag for kind in typing.get_args(ClientMessage)}
    assert MESSAGES.keys() == tags
    streams = {key for key, cases in CASES.items() if any(case.names_a_stream(key[1]) for case in cases)}
    assert {key for key in CASES if "stream" in key[1] or "complet" in key[1]} == streams, (
        "a route of streams lacks a case"
    )


def test_who_has_no_good_key_gets_one_answer_everywhere(site: Site) -> None:
    rows: dict[str, str] = {}
    reference: tuple[Any, ...] | None = None
    tried = 0
    for route in ROUTES:
        statuses = set()
        for name, headers in site.bad.items():
            for case in CASES[route.method, route.path]:
                for stream_id in site.streams.values() if case.names_a_stream(route.path) else ("none",):
                    if route.access is Access.TICKET and "ticket=" in case.query:
                        # Its 401 is that of a bad ticket, whatever key comes with it.
                        assert site.ask(route.method, route.path, case, headers, stream_id).status == 401
                        continue
                    answer = site.ask(route.method, route.path, case, headers, stream_id)
                    tried += 1
                    statuses.add(answer.status)
                    if route.access is Access.OPEN:
                        expected = site.ask(route.method, route.path, case, site.admin, stream_id)
                        assert normal(answer, stream_id) == normal(expected, stream_id), (route.path, name)
                        continue
                    reference = reference or normal(answer, stream_id)
                    assert normal(answer, stream_id) == reference, (route.path, case, name)
        rows[f"{route.method} {route.path}"] = "/".join(map(str, sorted(statuses)))
    assert reference is not None
    status, head, body = reference
    assert status == 401
    assert dict(head)["www-authenticate"] == 'Bearer realm="headrace"'
    assert json.loads(body)["error"]["code"] == "invalid_api_key"
    assert_unharmed(site)
    told = "".join(f"  {path:40} {status}\n" for path, status in rows.items())
    sys.stdout.write(f"\n{tried} requests with {len(site.bad)} kinds of no good key ({', '.join(site.bad)}):\n{told}")


def test_for_another_owner_a_stream_is_as_one_that_does_not_exist(site: Site) -> None:
    lines: list[str] = []
    words = site.secrets_of_owner()
    before = {kind: site.view(kind) for kind in site.streams}
    for route in ROUTES:
        statuses: dict[str, set[int]] = {}
        for case in CASES[route.method, route.path]:
            names_one = case.names_a_stream(route.path)
            expected = case.owner if case.other is None else case.other
            nobody = new_id("nobody")
            unknown = site.ask(route.method, route.path, case, site.other.header, nobody)
            statuses.setdefault("unknown", set()).add(unknown.status)
            for kind, stream_id in site.streams.items() if names_one else (("any", "none"),):
                answer = site.ask(route.method, route.path, case, site.other.header, stream_id)
                statuses.setdefault(kind, set()).add(answer.status)
                assert answer.status == expected, (route.path, case, kind, answer)
                if names_one and not case.tells:
                    assert normal(answer, stream_id) == normal(unknown, nobody), (route.path, case, kind)
                told = (str(answer.headers).encode() + answer.body).replace(stream_id.encode(), b"ID")
                assert [word for word in words if word.encode() in told] == [], (route.path, case, kind)
        shown = "  ".join(f"{kind} {'/'.join(map(str, sorted(found)))}" for kind, found in statuses.items())
        lines.append(f"  {route.method + ' ' + route.path:40} {shown}\n")
    after = {kind: site.view(kind) for kind in site.streams}
    assert after["ended"] == before["ended"]
    assert_unharmed(site)
    sys.stdout.write(f"\n{OTHER} asks for streams of {OWNER}, and for one that does not exist:\n{''.join(lines)}")


def test_filters_by_another_owners_words_are_as_by_words_of_nobody(site: Site) -> None:
    """And the same question with the owner's own key finds something, or this would prove nothing."""

    def found(query: str, headers: dict[str, str]) -> Any:
        answer = ask(site.port, "GET", f"/v1/usage?since=0&until=4000000000&{query}", headers=headers)
        assert answer.status == 200, answer.body
        return answer.json["data"], answer.json["total"]

    for name, word, made_up in (
        ("owner", OWNER, "nobody"),
        ("key", site.owner.id, "key_nobody"),
        ("tag", f"project:{TAG}", "project:none"),
    ):
        query = f"by=owner,key,tag:project&{name}="
        assert found(query + word, site.other.header) == found(query + made_up, site.other.header)
        assert found(query + word, site.other.header)[0] == []
        assert found(query + word, site.owner.header)[0] != []
        assert found(query + word, site.admin)[0] != []


def test_the_owner_and_an_admin_do_see_it(site: Site) -> None:
    """What the tables above find absent is there for who may see it."""
    views = [site.view(kind) for kind in site.streams]
    logs = {kind: site.view(kind)["log_id"] for kind in site.streams}
    assert (logs["joined"], logs["repeated"]) == (site.streams["running"], site.streams["ended"])
    for stream_id in site.ended_ids:
        assert ask(site.port, "GET", f"/v1/streams/{stream_id}/events", headers=site.owner.header).status == 200
    listed = ask(site.port, "GET", "/v1/streams?limit=100", headers=site.owner.header).json["data"]
    assert {view["id"] for view in views} <= {view["id"] for view in listed}
    assert {view["owner"] for view in listed} == {OWNER}
    assert [view["state"] for view in views] == [state_of(kind) for kind in site.streams]
    assert views[-1]["durability"] == "degraded"
    everybodys = ask(site.port, "GET", "/metrics", headers=site.admin).body.decode()
    own = ask(site.port, "GET", "/metrics", headers=site.owner.header).body.decode()
    others = ask(site.port, "GET", "/metrics", headers=site.other.header).body.decode()
    assert OWNER in everybodys
    assert OTHER in everybodys
    assert (OWNER in own, OTHER in own) == (True, False)
    assert (OWNER in others, OTHER in others) == (False, True)
    numbers = [line for line in others.splitlines() if line and not line.startswith("#")]
    assert all(f'owner="{OTHER}"' in line for line in numbers), "a member sees numbers of the whole relay"


def test_a_taken_id_tells_that_it_is_taken_and_nothing_else(site: Site) -> None:
    for kind, stream_id in site.streams.items():
        sent = {**JSON, **site.other.header, "headrace-stream-id": stream_id}
        answer = ask(site.port, "POST", "/v1/chat/completions", headers=sent, body=chat_body())
        mine = ask(site.port, "POST", "/v1/chat/completions", headers={**sent, **site.owner.header}, body=chat_body())
        assert answer.status == 409, kind
        assert answer.error == {
            "message": f"the stream id {stream_id} is taken",
            "type": "invalid_request_error",
            "param": "Headrace-Stream-Id",
            "code": "stream_exists",
        }
        assert normal(answer, stream_id) == normal(mine, stream_id), "whose it is makes a difference"


# --- what requests share


def shared_by(
    site: Site, key: Key, *, headers: dict[str, str] | None = None, **fields: Any
) -> tuple[bytes, dict[str, Any]]:
    """Ask for a short answer; return its log and its view."""
    with chat(site.port, headers={**key.header, **(headers or {})}, **fields) as exchange:
        assert exchange.status == 200
        body = exchange.read()
        path = f"/v1/streams/{exchange.headers['headrace-stream-id']}"
        headers_seen = str(exchange.headers).encode()
    view = ask(site.port, "GET", path, headers=key.header)
    told = [ask(site.port, "GET", f"{path}{more}", headers=key.header).body for more in ("/events", "/timeline")]
    return b"".join([headers_seen, body, view.body, *told]), view.json


def test_an_idempotency_key_is_its_owners_own(site: Site) -> None:
    """Neither the same request nor another one with the same key tells that somebody else has used it."""
    second = {"idempotency-key": "alices-second-key"}
    shared_by(site, site.owner, headers=second, simulate={"tokens": 3})
    words = [word for word in site.secrets_of_owner() if word != REPEATED_KEY]
    for headers, script in (({"idempotency-key": REPEATED_KEY}, {"tokens": 3}), (second, {"tokens": 4})):
        told, view = shared_by(site, site.other, headers=headers, simulate=script)
        assert (view["source"], view["log_id"]) == ("engine", view["id"])
        assert [word for word in words if word.encode() in told] == []


def test_a_running_answer_is_shared_with_its_owner_only(site: Site) -> None:
    common: dict[str, Any] = {
        "model": "common",
        "temperature": 0,
        "content": site.streams["running"],
        "simulate": ENDLESS,
    }
    with chat(site.port, headers=site.other.header, **common) as exchange:
        exchange.read_events(2)
        path = f"/v1/streams/{exchange.headers['headrace-stream-id']}"
        view = ask(site.port, "GET", path, headers=site.other.header).json
    assert (view["source"], view["log_id"]) == ("engine", view["id"])


def test_an_answer_from_a_cache_that_all_share_does_not_tell_who_asked_first(site: Site) -> None:
    common: dict[str, Any] = {
        "model": "common",
        "temperature": 0,
        "content": "What do all ask?",
        "simulate": {"tokens": 3},
    }
    first = new_id("first")
    shared_by(site, site.owner, headers={"headrace-stream-id": first}, **common)

    def hit() -> tuple[bytes, dict[str, Any]] | None:
        told, view = shared_by(site, site.other, **common)
        return (told, view) if view["source"] == "cache" else None

    found = wait_for(hit, what="an answer from the cache")
    told, view = found
    assert [word for word in (*site.secrets_of_owner(), first) if word.encode() in told] == []
    listed = ask(site.port, "GET", "/v1/streams", headers=site.other.header)
    assert (listed.json["data"][0]["id"], first.encode() in listed.body) == (view["id"], False)
    assert ask(site.port, "GET", f"/v1/streams/{view['id']}", headers=site.owner.header).status == 404
    assert ask(site.port, "GET", f"/v1/streams/{first}", headers=site.other.header).status == 404
    # Each may erase what it has, and the other one keeps its own.
    assert ask(site.port, "DELETE", f"/v1/streams/{view['id']}", headers=site.other.header).status == 204
    assert ask(site.port, "GET", f"/v1/streams/{first}/events", headers=site.owner.header).status == 200


# --- WebSockets


@contextmanager
def opened(site: Site, way: str, sent: dict[str, str], *, ticket: str = "") -> Iterator[ClientConnection]:
    """Open a WebSocket, and say who it is in one of ``WAYS``; the key is that of ``sent``."""
    address = f"ws://127.0.0.1:{site.port}/v1/stream"
    protocols: list[Any] = [SUBPROTOCOL]
    headers: dict[str, str] = {}
    key = sent.get("authorization", "").removeprefix("Bearer ")
    first: dict[str, Any] = {"type": "auth"}
    if way == "header":
        headers = sent
    elif way == "subprotocol":
        protocols.append(TICKET_SUBPROTOCOL + (ticket or site.keyring.ticket(key)))
    elif way == "ticket":
        first["ticket"] = ticket or site.keyring.ticket(key)
    elif key:
        first["key"] = key
    with connect(
        address, subprotocols=protocols, additional_headers=headers, proxy=None, compression=None, close_timeout=1
    ) as connection:
        if way in {"ticket", "key"}:
            connection.send(json.dumps(first))
        yield connection


def reply(connection: ClientConnection, message: dict[str, Any] | None, stream_id: str) -> tuple[Any, ...]:
    """Send a message and then a ping; return what comes before the pong, or how the connection ends, without the id."""
    heard: list[Any] = []
    try:
        if message is not None:
            connection.send(json.dumps(message).replace("ID", stream_id))
        connection.send('{"type": "ping", "id": "marker"}')
        while True:
            text = connection.recv(timeout=10)
            assert isinstance(text, str)
            if json.loads(text) == {"type": "pong", "id": "marker"}:
                return ("open", *heard)
            heard.append(json.loads(text.replace(stream_id, "ID")))
    except ConnectionClosed:
        return (connection.close_code, (connection.close_reason or "").replace(stream_id, "ID"), *heard)


def messages() -> list[dict[str, Any]]:
    return [{"type": tag, **fields} for tag, fields in MESSAGES.items()]


def test_a_socket_without_a_good_key_closes_at_once(site: Site) -> None:
    reasons: dict[str, set[str]] = {}
    for name, headers in site.bad.items():
        for way in ("header", "key"):
            if (way, name) in {("key", "no scheme"), ("key", "over-long")}:
                # As a message the first is a good key. The other is no message.
                continue
            with opened(site, way, headers) as connection:
                told = reply(connection, {"type": "resume", "stream": "ID"}, site.streams["running"])
                assert (told[0], len(told)) == (UNAUTHORIZED, 2), (way, name, told)
                reasons.setdefault(told[1], set()).add(f"{way}: {name}")
    waits = "the first message must be auth, with a key or a ticket"
    assert reasons.pop(waits) == {"header: no key", "header: other header"}
    assert len(reasons) == 1, "bad keys are told apart"
    with opened(site, "key", site.bad["over-long"]) as connection:
        assert reply(connection, {"type": "resume", "stream": "ID"}, site.streams["running"])[0] == MALFORMED
    for message in messages():
        if message["type"] != "auth":
            with opened(site, "header", {}) as connection:
                told = reply(connection, message, site.streams["running"])
                assert told == (UNAUTHORIZED, waits), message
    used = site.keyring.ticket(site.owner.text)
    with opened(site, "ticket", {}, ticket=used) as connection:
        assert reply(connection, {"type": "ping", "id": 1}, "-")[0] == "open"
    late = site.keyring.make("of a revoked key", OWNER)
    revoked = site.keyring.ticket(late.text)
    site.keyring.revoke(late)
    for way in ("ticket", "subprotocol"):
        for ticket in ("tkt_made-up", used, revoked):
            with opened(site, way, {}, ticket=ticket) as connection:
                code, *_ = reply(connection, {"type": "stop", "stream": "ID"}, site.streams["running"])
                assert code == UNAUTHORIZED, (way, ticket)
    assert_unharmed(site)


def test_over_a_socket_another_owners_stream_is_as_one_that_does_not_exist(site: Site) -> None:
    lines: list[str] = []
    words = site.secrets_of_owner()
    for way in WAYS:
        for message in messages():
            nobody, told = new_id("nobody"), {}
            for kind, stream_id in (*site.streams.items(), ("unknown", nobody)):
                with opened(site, way, site.other.header) as connection:
                    told[kind] = reply(connection, message, stream_id)
            unknown = told.pop("unknown")
            for kind, answer in told.items():
                shown = json.dumps(answer)
                assert [word for word in words if word in shown] == [], (way, message, kind)
                if message["type"] == "start":
                    [refused] = answer[1:]
                    assert refused["error"]["code"] == "stream_exists"
                else:
                    assert answer == unknown, (way, message, kind)
            if way == "header":
                codes = [
                    str(part.get("error", part).get("code", part["type"]))
                    for part in unknown[1:]
                    if isinstance(part, dict)
                ]
                lines.append(f"  {message['type']:8} {unknown[0]} {' '.join(codes[:3])}\n")
    assert_unharmed(site)
    with opened(site, "header", site.owner.header) as connection:
        mine = reply(connection, {"type": "resume", "stream": "ID"}, site.streams["ended"])
        assert mine[0] == "open"
    sys.stdout.write(f"\n{OTHER}'s messages on streams of {OWNER}, by {', '.join(WAYS)}, as on none:\n{''.join(lines)}")


def test_a_session_ends_with_its_key(site: Site) -> None:
    for way in WAYS:
        for message in messages():
            if message["type"] not in {"start", "resume", "stop"}:
                continue
            key = site.keyring.make("ends soon", OWNER)
            with opened(site, way, key.header) as connection:
                assert reply(connection, None, "-") == ("open",)
                site.keyring.revoke(key)
                stream_id = new_id("new") if message["type"] == "start" else site.streams["running"]
                code, reason, *heard = reply(connection, message, stream_id)
                assert (code, heard) == (UNAUTHORIZED, []), (way, message)
                assert "key that is good" in reason
    assert_unharmed(site)


def test_a_session_ends_with_its_secret(site: Site) -> None:
    """A rotation that keeps the old secret for no time at all is for a secret that somebody has stolen."""
    key = site.keyring.make("stolen", OTHER)
    with opened(site, "header", key.header) as connection:
        assert reply(connection, None, "-") == ("open",)
        site.keyring.rotate("stolen, the new one", key, keep_old_for=0)
        assert not site.keyring.is_good(key.text)
        start = {"type": "start", **MESSAGES["start"]}
        assert reply(connection, start, new_id("stolen"))[0] == UNAUTHORIZED


# --- tickets in URLs


def test_a_ticket_starts_one_stream_and_opens_no_other(site: Site) -> None:
    def get(ticket: str, last_event_id: str | None = None, sent: dict[str, str] | None = None) -> Answer:
        place = {} if last_event_id is None else {"last-event-id": last_event_id}
        path = f"/v1/completions/stream?model=sim&prompt=hi&max_tokens=2&ticket={ticket}"
        return ask(site.port, "GET", path, headers={**place, **(sent or {})})

    nobody = new_id("nobody")
    fresh, used = (site.keyring.ticket(site.other.text) for _ in range(2))
    first = get(used)
    assert first.status == 200
    own = first.headers["headrace-stream-id"]
    assert ask(site.port, "GET", f"/v1/streams/{own}", headers=site.other.header).json["owner"] == OTHER
    assert get(used).status == 401, "a ticket starts two streams"
    assert get(used, f"{own}:-1").status == 200, "an EventSource cannot come back"
    for ticket in (fresh, used, "tkt_made-up"):
        unknown = normal(get(ticket, f"{nobody}:0"), nobody)
        assert unknown[0] == 401
        for stream_id in site.streams.values():
            assert normal(get(ticket, f"{stream_id}:0"), stream_id) == unknown
            # A good key beside it opens nothing that the ticket does not.
            assert normal(get(ticket, f"{stream_id}:0", site.owner.header), stream_id) == unknown
    key = site.keyring.make("gives a ticket", OWNER)
    left, spent = (site.keyring.ticket(key.text) for _ in range(2))
    started = get(spent).headers["headrace-stream-id"]
    site.keyring.revoke(key)
    assert get(left).status == 401, "a ticket outlives its key"
    assert get(spent, f"{started}:-1").status == 401, "a ticket that was used outlives its key"
    assert_unharmed(site)


# --- moments


def test_nobody_erases_a_stream_that_begins_under_a_name_they_guessed(site: Site) -> None:
    """What does not exist when they ask may exist a moment later, and is somebody else's then.

    The store is kept from writing meanwhile, which makes the moment as long as it has to be.
    """
    stream_id = new_id("guessed")
    path = f"/v1/streams/{stream_id}"
    headers = {**site.owner.header, "headrace-stream-id": stream_id}
    with ExitStack() as stack:
        with writes_held(Path(str(site.relay.store))):
            erasing = stack.enter_context(begin(site.port, "DELETE", path, headers=site.other.header))
            for _ in range(3):
                # The store reads one after the other: behind these it has been read for the other request.
                assert ask(site.port, "GET", path, headers=site.other.header).status == 404
            answer = stack.enter_context(chat(site.port, headers=headers, simulate={"tokens": 20, "itl_ms": 20}))
            wait_for(lambda: ask(site.port, "GET", path, headers=site.owner.header).status == 200, what="a stream")
        assert erasing.status == 404
        assert ask(site.port, "GET", path, headers=site.owner.header).json["owner"] == OWNER
        answer.read()


def test_an_id_stays_taken_as_long_as_anything_of_it_is_kept(tmp_path: Path) -> None:
    """Else whoever had it first would find the new stream under its old name."""
    store, stream_id = tmp_path / "small.db", new_id("again")
    admin = first_key(store)

    def start(key: Key) -> Answer:
        headers = {**JSON, **key.header, "headrace-stream-id": stream_id}
        return ask(relay.port, "POST", "/v1/chat/completions", headers=headers, body=chat_body())

    with Simulator() as simulator, Relay(simulator.url, store, environ={"HEADRACE_STORE__MAX_BYTES": "1"}) as relay:
        keyring = Keyring(relay.port, admin)
        first, second = keyring.make("first", OWNER), keyring.make("second", OTHER)
        assert start(first).status == 200
        # It looks for what is too much when it starts.
        relay.terminate()
        relay.start()
        events = f"/v1/streams/{stream_id}/events"
        wait_for(lambda: ask(relay.port, "GET", events, headers=first.header).status == 404, what="the loss of a log")
        assert ask(relay.port, "GET", f"/v1/streams/{stream_id}", headers=first.header).status == 200
        assert start(second).error["code"] == "stream_exists"
        assert ask(relay.port, "DELETE", f"/v1/streams/{stream_id}", headers=first.header).status == 204
        assert start(second).status == 200


def test_who_says_nothing_may_not_stay(tmp_path: Path) -> None:
    """A WebSocket has as long to say who it is as a request has."""
    store = tmp_path / "patient.db"
    first_key(store)
    environ = {"HEADRACE_SERVER__HEAD_TIMEOUT": "200ms"}
    with (
        Relay("http://127.0.0.1:9/v1", store, environ=environ) as relay,
        connect(f"ws://127.0.0.1:{relay.port}/v1/stream", proxy=None) as connection,
    ):
        with pytest.raises(ConnectionClosed):
            connection.recv(timeout=10)
        assert (connection.close_code, connection.close_reason) == (UNAUTHORIZED, "auth did not arrive in time")


def test_two_keys_in_one_request_are_none(site: Site) -> None:
    """Whoever stands before the relay may have looked at the other one."""
    for texts in ((site.owner.text, "hr_none"), ("hr_none", site.owner.text), (site.owner.text, site.other.text)):
        lines = ["GET /v1/me HTTP/1.1", "host: 127.0.0.1", "connection: close"]
        lines += [f"authorization: Bearer {text}" for text in texts]
        with socket.create_connection(("127.0.0.1", site.port), timeout=10) as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b'"repeated_header"' in answer


# --- what a key may not, though it is good


def test_a_key_for_some_models_gets_no_other_by_any_door(site: Site) -> None:
    key = site.keyring.make("one model", OTHER, models=["sim"])
    listed = ask(site.port, "GET", "/v1/models", headers=key.header).json["data"]
    assert [model["id"] for model in listed] == ["sim"]
    everything = ask(site.port, "GET", "/v1/models", headers=site.other.header).json["data"]
    assert {"sim", "scripted"} <= {model["id"] for model in everything}

    def asked(path: str, model: dict[str, str]) -> Answer:
        body: dict[str, Any] = {"prompt": "hi"} if "completions" in path and "chat" not in path else {}
        body = body or {"messages": [{"role": "user", "content": "hi"}]}
        sent = json.dumps({**body, **model, "max_tokens": 2}).encode()
        return ask(site.port, "POST", path, headers={**JSON, **key.header}, body=sent)

    for path in CHAT_PATHS:
        assert asked(path, {"model": "sim"}).status == 200
        for model in ({"model": "scripted"}, {"model": "SIM"}, {"model": ""}, {}):
            answer = asked(path, model)
            assert (answer.status, answer.error["code"]) == (404, "model_not_found"), (path, model)
            assert answer.error["message"].endswith("served: sim")
    query = "/v1/completions/stream?prompt=hi&model=scripted"
    assert ask(site.port, "GET", query, headers=key.header).status == 404
    ticket = site.keyring.ticket(key.text)
    assert ask(site.port, "GET", f"{query}&ticket={ticket}").status == 404
    for way in WAYS:
        with opened(site, way, key.header) as connection:
            start = {
                **MESSAGES["start"],
                "type": "start",
                "request": {**MESSAGES["start"]["request"], "model": "scripted"},
            }
            code, refused = reply(connection, start, new_id("model"))
            assert (code, refused["error"]["code"]) == ("open", "model_not_found")


def test_health_tells_no_numbers(site: Site) -> None:
    for path in ("/healthz", "/readyz"):
        assert re.search(rb"\d", ask(site.port, "GET", path).body) is None
    assert ask(site.port, "GET", "/healthz").json == {"status": "ok"}


def test_pages_of_others_stay_outside_and_any_host_is_served(site: Site) -> None:
    running = f"/v1/streams/{site.streams['running']}"

    def get(**headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return ask(site.port, "GET", running, headers={**site.owner.header, **sent})

    def preflight(origin: str) -> Answer:
        sent = {"origin": origin, "access-control-request-method": "POST"}
        return ask(site.port, "OPTIONS", running, headers={**sent, "access-control-request-headers": "authorization"})

    assert get(host="relay.example").status == 200
    assert get(origin="https://evil.example").status == 403
    assert get(sec_fetch_site="cross-site").status == 403
    assert preflight("https://evil.example").status == 403
    asked = preflight(LISTED_ORIGIN)
    assert (asked.status, asked.headers["access-control-allow-headers"]) == (204, "authorization")
    assert "access-control-allow-credentials" not in asked.headers
    listed = {"origin": LISTED_ORIGIN}
    assert get(**listed).headers["access-control-allow-origin"] == LISTED_ORIGIN
    refused = ask(site.port, "GET", running, headers=listed)
    assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, LISTED_ORIGIN)


# --- at last, what would disturb the tests above


def state_of(kind: str) -> str:
    return "completed" if kind in ENDED else "in_progress"


def assert_unharmed(site: Site) -> None:
    """Make sure that the owner's streams are as they were: none stopped, none erased, nothing reported."""
    for kind in site.streams:
        view = site.view(kind)
        assert (view["state"], view["perceived"], view["owner"]) == (state_of(kind), None, OWNER), (kind, view)
    key = ask(site.port, "GET", f"/v1/keys/{site.owner.id}", headers=site.admin).json
    assert (key["revoked_at"], len(key["secrets"])) == (None, 1)
    owners = {one["owner"] for one in ask(site.port, "GET", "/v1/keys", headers=site.admin).json["data"]}
    assert owners == {"ops", OWNER, OTHER}


def test_the_store_has_digests_of_keys_and_no_keys(site: Site) -> None:
    """Each key is looked for as it is, and without the part that all have."""
    path = Path(str(site.relay.store))
    files = store_files(path)
    assert {f"{path.name}-wal", path.name} <= files.keys()
    files["rows"] = rows(path)
    files["output"] = site.relay.output.encode()
    for name, text in site.keyring.texts.items():
        for part in (text, text.removeprefix("hr_")):
            assert [file for file, data in files.items() if part.encode() in data] == [], name
    kept = [text for name, text in site.keyring.texts.items() if name != "stolen"]
    digests = [hashlib.sha256(text.encode()).hexdigest().encode() for text in kept]
    assert all(digest in files["rows"] for digest in digests), "what is looked for could not be found"
    sizes = ", ".join(f"{name} {len(data)}" for name, data in files.items())
    sys.stdout.write(f"\n{len(digests)} keys looked for in {sizes} bytes\n")


def test_who_may_can_do_all_of_it(site: Site) -> None:
    """Runs last: it ends the streams of the tests above. Were a case of the tables malformed, it would show here."""
    lines: list[str] = []
    routes = [route for route in ROUTES if route.access is not Access.ADMIN]
    for route in sorted(routes, key=lambda route: (route.method == "DELETE", "cancel" in route.path)):
        for case in CASES[route.method, route.path]:
            kind = "running" if "cancel" in route.path else "ended"
            answer = site.ask(route.method, route.path, case, site.owner.header, site.streams[kind])
            is_end = "last-event-id" in case.headers and "completions" in route.path
            assert answer.status == case.owner or (is_end and answer.status == 204), (route.path, case, answer)
        lines.append(f"  {route.method + ' ' + route.path:40} {answer.status}\n")
    degraded = f"/v1/streams/{site.streams['degraded']}"
    assert ask(site.port, "POST", f"{degraded}/cancel", headers=site.admin).json["state"] == "cancelled"
    assert ask(site.port, "DELETE", degraded, headers=site.admin).status == 204
    assert ask(site.port, "GET", degraded, headers=site.owner.header).status == 404
    sys.stdout.write(f"\n{OWNER} asks for its own streams:\n{''.join(lines)}")
