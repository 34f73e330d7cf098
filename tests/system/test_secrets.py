"""No secret gets out: words are planted wherever a secret may stand, and looked for in all that comes out of a relay.

The relay goes through a day of its life first: answers by every door, mistakes of clients, failures of the engine that repeat
its keys, a crash, a reload that works and one that does not; its log is at ``debug`` all the while.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.processes import Relay, Simulator
from tests.system.haul import SENT, Client, Haul, word
from tests.system.keyed import Keyring, bearer, first_key, headrace, made_up_key
from tests.system.wire import JSON, Exchange, ask, chat, wait_for

from headrace.http.assets import FOLDER as PAGE

ECHOED_STATUSES = (400, 404, 413, 422, 500, 503)
KEY_STATUSES = (401, 403, 429)
"""With these an engine rejects a key, which then is used no more or for a while."""

EVENT_TYPES = ("text/event-stream", "application/x-ndjson")
DOORS = ("/v1/chat/completions", "/v1/completions", "/api/v1/chat/stream", "/v1/completions/stream")
LATE = "variable, repeated amid an answer"
AT_LAST = "store, at last"
ANSWER_PLACES = {"streams", "store", AT_LAST}
"""Where answers may be: what their owner gets of its streams, and the log."""


@dataclass
class Day:
    """What was planted, and what came out."""

    haul: Haul
    keys: dict[str, str] = field(default_factory=dict)
    """Client keys: good, revoked, rotated away, and such that never were."""
    upstream: dict[str, str] = field(default_factory=dict)
    """The engine's keys, and passwords in its URL."""
    used: dict[str, int] = field(default_factory=dict)
    """Requests that the engine had by these keys."""
    prompts: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    unkept: list[str] = field(default_factory=list)
    """Answers of which nothing is to be kept."""
    tickets: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)

    def prompt(self) -> str:
        self.prompts.append(word("prompt"))
        return self.prompts[-1]

    def answer(self) -> str:
        self.answers.append(word("answer"))
        return self.answers[-1]

    def tag(self) -> dict[str, str]:
        self.tags.append(word("tag"))
        return {"headrace-tags": f"project={self.tags[-1]}"}


class Life:
    """A relay's day. Every method is a part of it."""

    def __init__(self, day: Day, folder: Path, simulator: Simulator) -> None:
        self.day = day
        self.simulator = simulator
        self.store = folder / "streams.db"
        self.config = folder / "headrace.toml"
        self.key_file = folder / "upstream.key"
        # What the engine refuses is tried again, at once.
        soon = {"HEADRACE_RETRY__BACKOFF": "1ms"}
        self.environ = {"UPSTREAM_ONE": day.upstream["variable"], "UPSTREAM_TWO": day.upstream[LATE], **soon}
        self.key_file.write_text(day.upstream["file"] + "\n")
        self.write_config()
        admin = first_key(self.store)
        options = ("--config", str(self.config), "--log-level", "debug")
        self.relay = Relay(None, self.store, *options, environ=self.environ)
        self.admin_text = admin

    def write_config(self, more: str = "", *, keys: str | None = None, upstream: str | None = None) -> None:
        listed = f'["env:UPSTREAM_ONE", "env:UPSTREAM_TWO", "file:{self.key_file}"]' if keys is None else keys
        address = self.simulator.url if upstream is None else upstream
        self.config.write_text(f'[engine]\nupstream = "{address}"\nupstream_keys = {listed}\n{more}')

    def teach_simulator(self) -> None:
        """Let the engine know the keys, so that it rejects any other."""
        keys = [{"name": name, "key": text} for name, text in self.day.upstream.items() if name != "password"]
        body = json.dumps({"keys": keys}).encode()
        assert ask(self.simulator.port, "PUT", "/simulator/keys", headers=JSON, body=body).status == 200

    def count_uses(self) -> None:
        for key in self.simulator.get_json("/simulator/keys")["keys"]:
            self.day.used[key["name"]] = self.day.used.get(key["name"], 0) + key["requests"]

    def meet(self) -> None:
        """Make the clients' keys."""
        self.keyring = Keyring(self.relay.port, self.admin_text)
        self.good = self.keyring.make("good", "alice", tags={"team": word("team")})
        self.other = self.keyring.make("other", "bob")
        self.revoked = self.keyring.revoked("revoked", "alice")
        self.outlived = self.keyring.outlived("outlived", "alice")
        self.client = Client(self.relay.port, self.day.haul, self.good.header)
        self.admin = Client(self.relay.port, self.day.haul, bearer(self.admin_text))

    def ticket(self) -> str:
        self.day.tickets.append(self.keyring.ticket(self.good.text))
        return self.day.tickets[-1]

    def body(self, path: str = DOORS[0], **fields: Any) -> dict[str, Any]:
        """Return a request with a prompt of its own, by which the engine says a word of its own."""
        prompt, script = self.day.prompt(), {"text": f"now {self.day.answer()} then", "reasoning": self.day.answer()}
        asked: dict[str, Any] = {"messages": [{"role": "user", "content": prompt}]}
        if path in {"/v1/completions", "/v1/completions/stream"}:
            asked = {"prompt": prompt}
        if path == "/v1/completions":
            del script["reasoning"]
            self.day.answers.pop()
        return {"model": "sim", "simulate": script, **asked, **fields}

    # --- what works

    def answers_by_every_door(self) -> None:
        client = self.client
        for path in DOORS:
            for more in ({}, {"stream": True}) if path in DOORS[:2] else ({},):
                answer = client.ask("streams", "POST", path, self.body(path, **more), headers=self.day.tag())
                assert answer.status == 200, answer.body
                self.look_at(answer.headers["headrace-stream-id"])
        client.ask("streams", "POST", DOORS[0], self.body(), headers={"accept": "application/x-ndjson"})
        query = f"/v1/completions/stream?model=sim&max_tokens=3&prompt={self.day.prompt()}&system={self.day.prompt()}"
        client.ask("streams", "GET", query)
        stranger = Client(self.relay.port, self.day.haul, {})
        assert stranger.ask("streams", "GET", f"{query}&ticket={self.ticket()}").status == 200
        assert stranger.ask("streams", "GET", f"{query}&ticket={self.day.tickets[-1]}").status == 401
        for ticket in (None, self.ticket()):
            start = {"type": "start", "stream": word("socket"), "request": self.body()}
            assert client.talk(start, ticket=ticket)[-1]["type"] == "end"
        auth = {"type": "auth", "ticket": self.ticket()}
        assert stranger.talk(auth, {"type": "ping", "id": 1})[-1]["type"] == "pong"
        auth = {"type": "auth", "key": self.good.text}
        assert stranger.talk(auth, {"type": "ping", "id": 1})[-1]["type"] == "pong"

    def look_at(self, stream_id: str) -> None:
        for accept in EVENT_TYPES:
            self.client.ask("streams", "GET", f"/v1/streams/{stream_id}/events", headers={"accept": accept})
        self.client.ask("records", "GET", f"/v1/streams/{stream_id}")
        self.client.ask("timeline", "GET", f"/v1/streams/{stream_id}/timeline")
        report = {"transport": "fetch", "reconnects": 1}
        self.client.ask("records", "POST", f"/v1/streams/{stream_id}/perceived", report)

    # --- what goes wrong

    def mistakes_of_clients(self) -> None:
        client, prompt = self.client, self.day.prompt
        bad = {"wrong": made_up_key(), "nearly": self.good.text[:-2] + "zz"}
        self.day.keys.update(bad)
        ended = {"revoked": self.revoked.text, "outlived": self.outlived.text}
        for text in (*bad.values(), *ended.values(), "x" * 5000):
            for path in DOORS:
                stranger = Client(self.relay.port, self.day.haul, bearer(text))
                assert stranger.ask("none", "POST", path, {"prompt": prompt()}).status == 401
            stranger.talk({"type": "resume", "stream": prompt()})
            Client(self.relay.port, self.day.haul, {}).talk({"type": "auth", "key": text})
        for body in (
            f'{{"model": "sim", "messages": [{{"role": "user", "content": "{prompt()}'.encode(),
            f'{{"messages": "{prompt()}", "stream": true}}'.encode(),
            f'{{"messages": [{{"content": "{prompt()}"}}], "n": "two"}}'.encode(),
            f'{{"messages": [{{"content": "{prompt()}"}}], "model": "none", "prompt": "x"}}'.encode(),
            f'"{prompt()}"'.encode(),
            f'{{"messages": ["{prompt()}"], "prompt": ["{prompt()}", {{}}]}}'.encode(),
            prompt().encode() + b"\xff\xfe",
        ):
            for path in DOORS:
                assert b'"error"' in client.ask("none", "POST", path, body).body, body
        assert client.ask("none", "POST", DOORS[0], self.body(), headers={"headrace-tags": "none"}).status == 400
        self.day.answers = self.day.answers[:-2]  # never said
        for message in (
            f'{{"type": "start", "stream": "s1", "request": {{"messages": "{prompt()}"}}}}',
            f'{{"type": "start", "stream": "s2", "request": "{prompt()}"}}',
            f'{{"type": "auth", "key": "{self.good.text}", "more": 1}}',
            f'{{"type": "begin", "prompt": "{prompt()}',
        ):
            client.talk(message)
        self.broken_requests()

    def broken_requests(self) -> None:
        """Send what is no HTTP, with a key in it."""
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self.good.text}\r\n"
        for text in (
            f"{head}Content-Length: none\r\n\r\n{self.day.prompt()}",
            f"{head}no header {self.day.prompt()}\r\n\r\n",
            f"{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{self.day.prompt()}",
            f"NONE{head}{'x: y' * 20_000}",
        ):
            with socket.create_connection(("127.0.0.1", self.relay.port), timeout=10) as connection:
                self.day.haul.add(SENT, text)
                connection.sendall(text.encode())
                connection.shutdown(socket.SHUT_WR)
                try:
                    self.day.haul.add("errors", b"".join(iter(lambda: connection.recv(65536), b"")))
                except ConnectionResetError:
                    continue

    def failures_of_the_engine(self, statuses: tuple[int, ...], *, file: str = "file") -> None:
        """Let it repeat the keys that it gets, in every shape that errors come in."""
        said = " and ".join(f"Bearer {self.day.upstream[name]}" for name in ("variable", file))
        escaped = "".join(f"\\u{ord(character):04x}" for character in self.day.upstream["variable"])
        bodies = {
            "application/json": json.dumps({"error": {"message": said, "type": said, "code": said, "param": said}}),
            "application/json; charset=utf-8": f'{{"detail": "{escaped}"}}',
            "text/plain": f"{said}",
            "text/html": f"<html><title>{said}</title><pre>{said}</pre>",
        }
        for status in statuses:
            for content_type, body in bodies.items():
                fault = {"kind": "status", "code": status, "body": body, "content_type": content_type}
                for stream in (True, False):
                    answer = self.client.ask(
                        "none", "POST", DOORS[0], self.faulty(fault, stream=stream), headers=self.day.tag()
                    )
                    assert answer.status >= 400
        location = f"http://127.0.0.1:9/?key={self.day.upstream['variable']}"
        self.client.ask("none", "POST", DOORS[0], self.faulty({"kind": "redirect", "location": location}, stream=True))
        for kind in ("fin", "rst", "malformed_json", "clean_end"):
            self.client.ask("streams", "POST", DOORS[0], self.faulty({"kind": kind}, stream=True))
        for kind in ("close_before_head", "early_eof_head"):
            self.client.ask("none", "POST", DOORS[0], self.faulty({"kind": kind}, stream=True))

    def faulty(self, fault: dict[str, Any], *, stream: bool) -> dict[str, Any]:
        message = {"role": "user", "content": self.day.prompt()}
        return {"model": "sim", "messages": [message], "stream": stream, "simulate": {"tokens": 5, "fault": fault}}

    def failures_amid_answers(self) -> None:
        """Let the engine repeat a key in an event of its stream: before any text, and after some."""
        said = f"Incorrect API key provided: {self.day.upstream[LATE]}"
        for at in (0, 2):
            fault = {"kind": "error_event", "at": at, "message": said, "type": said, "code": said}
            for stream in (True, False):
                stream_id = word("stream")
                self.client.ask(
                    "records", "POST", DOORS[0], self.faulty(fault, stream=stream),
                    headers={"headrace-stream-id": stream_id},
                )  # fmt: skip
                for path in ("", "/events", "/timeline"):
                    self.client.ask("records", "GET", f"/v1/streams/{stream_id}{path}")

    # --- what ends

    def stopped_and_erased(self) -> None:
        for method, end in (("POST", "/cancel"), ("DELETE", "")):
            stream_id = word("stream")
            answer = self.day.answer() if method == "POST" else word("answer")
            with self.long_answer(stream_id, answer) as exchange:
                exchange.read_until(answer.encode())
                self.client.ask("records", method, f"/v1/streams/{stream_id}{end}")
                self.day.haul.add("streams", exchange.read())
            if method == "DELETE":
                self.day.unkept.append(answer)
        body = self.body(store=False, stream=True)
        self.day.unkept += [self.day.answers.pop(), self.day.answers.pop()]
        self.client.ask("streams", "POST", DOORS[0], body)

    def long_answer(self, stream_id: str, answer: str) -> Exchange:
        """Begin a stream that says a word again and again, for longer than anybody listens."""
        prompt = self.day.prompt()
        self.day.haul.add(SENT, prompt)
        script = {"deltas": [answer, " more"] * 1000, "itl_ms": 20}
        headers = {**self.good.header, "headrace-stream-id": stream_id}
        return chat(self.relay.port, headers=headers, content=prompt, simulate=script)

    def crash(self) -> None:
        """SIGKILL amid an answer; then the relay is back, and has closed what was left open."""
        stream_id, answer = word("stream"), self.day.answer()
        with self.long_answer(stream_id, answer) as exchange:
            exchange.read_until(answer.encode())
            # Now, because the engine's keys are no use any more after this.
            self.failures_of_the_engine(KEY_STATUSES)
            self.day.haul.add("streams", exchange.received)
            self.relay.kill()
        self.after_a_life()
        self.relay.start()
        self.look_at(stream_id)
        assert self.client.ask("records", "GET", f"/v1/streams/{stream_id}").json["cause"] == "node_lost"

    def after_a_life(self) -> None:
        """Take what a process leaves: its output, and the store's files as they are."""
        self.day.haul.add("log", self.relay.output)
        self.day.haul.add_store("store", self.store)

    def after_the_day(self) -> None:
        self.after_a_life()
        self.day.haul.add_store(AT_LAST, self.store)
        self.day.haul.add("engine", json.dumps(self.simulator.requests()))

    def reload(self) -> None:
        """Give the engine another key and a note to the settings; then the mistakes that people make with keys."""
        self.key_file.write_text(self.day.upstream["second file"])
        self.write_config("[limits]\nmax_queued = 77\n")
        self.hang_up("settings were reloaded")
        variable = self.day.upstream["variable"]
        self.write_config("[limits]\nmax_queued = 78\n", keys=f'["{variable}"]')
        self.hang_up("not reloaded")
        self.write_config(f'upstream_key_env = "{variable}"\n')
        self.hang_up("not reloaded")
        self.write_config(f'key = "{variable}"\n')
        self.hang_up("not reloaded")
        self.write_config(upstream=self.with_password())
        self.hang_up("engine.upstream: ")
        self.write_config()
        self.hang_up("reloaded")

    def with_password(self) -> str:
        """Return an address in which somebody has put what does not belong there."""
        return f"http://user:{self.day.upstream['password']}@127.0.0.1:9/v1?api_key={self.day.upstream['password']}"

    def hang_up(self, wanted: str) -> None:
        before = self.relay.output.count(wanted)
        os.kill(self.relay.pid, signal.SIGHUP)
        wait_for(lambda: self.relay.output.count(wanted) > before, what=wanted)

    # --- what tells

    def what_the_relay_tells(self) -> None:
        for client in (self.client, self.admin):
            self.all_streams(client)
            for query in ("", "?by=owner,key,state,tag:project", "?by=tag:team,tag:project&format=csv"):
                client.ask("usage", "GET", f"/v1/usage{query}")
            client.ask("metrics", "GET", "/metrics")
            client.ask("me", "GET", "/v1/me")
            client.ask("me", "GET", "/v1/models")
            client.ask("key list", "GET", "/v1/keys")
            client.ask("key list", "GET", f"/v1/keys/{self.good.id}")
            client.ask("me", "GET", "/healthz")
        stranger = Client(self.relay.port, self.day.haul, {})
        for file in PAGE.rglob("*"):
            if file.is_file():
                stranger.ask("page", "GET", f"/{file.relative_to(PAGE)}")
        assert stranger.ask("page", "GET", "/").status == 200

    def all_streams(self, client: Client) -> None:
        """Look at every stream there is: page by page, and at the failed ones each alone, since only that tells the reason."""
        after = ""
        while True:
            page = client.ask("records", "GET", f"/v1/streams?limit=100{after}").json
            for stream in page["data"]:
                if stream["state"] == "failed":
                    client.ask("records", "GET", f"/v1/streams/{stream['id']}")
                    client.ask("records", "GET", f"/v1/streams/{stream['id']}/events")
            if not page["has_more"]:
                return
            after = f"&after={page['last_id']}"

    def what_the_commands_tell(self) -> None:
        haul, store = self.day.haul, f"sqlite:///{self.store}"
        file = ("--config", str(self.config))
        for command in (["show", "--json"], ["check"]):
            haul.add("config", headrace("config", *command, *file, environ=self.environ))
        self.write_config(upstream=self.with_password())
        haul.add("config", headrace("config", "show", *file, environ=self.environ))
        for more in ([], ["--json"]):
            haul.add("key list", headrace("keys", "list", *more, "--store", store))
        admin = {"HEADRACE_API_KEY": self.admin_text}
        by = ("--by", "owner,key,tag:project")
        haul.add("usage", headrace("usage", *by, "--csv", "--url", self.relay.origin, environ=admin))
        haul.add("records", headrace("streams", "list", "--url", self.relay.origin, environ=admin))
        self.write_config(keys=f'["{self.day.upstream["variable"]}"]')
        for command in (["config", "check"], ["serve"]):
            haul.add("config", headrace(*command, *file, environ=self.environ, is_well=False))
        self.write_config()


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    names = ("variable", LATE, "file", "second file", "password")
    day = Day(Haul(), upstream={name: word("sk-proj-") for name in names})
    with ExitStack() as stack:
        simulator = stack.enter_context(Simulator())
        life = Life(day, tmp_path_factory.mktemp("secrets"), simulator)
        relay = stack.enter_context(life.relay)
        life.teach_simulator()
        life.meet()
        life.answers_by_every_door()
        life.mistakes_of_clients()
        life.failures_of_the_engine(ECHOED_STATUSES)
        life.failures_amid_answers()
        life.stopped_and_erased()
        life.crash()
        life.reload()
        life.failures_of_the_engine(ECHOED_STATUSES, file="second file")
        life.answers_by_every_door()
        life.what_the_relay_tells()
        life.what_the_commands_tell()
        life.count_uses()
        relay.terminate()
        life.after_the_day()
        day.keys.update(life.keyring.texts)
        yield day


def test_a_client_key_is_in_no_log_no_error_no_page_and_not_in_the_store(day: Day) -> None:
    for name, text in day.keys.items():
        for part in (text, text.removeprefix("hr_")):
            assert day.haul.places(part) <= {SENT}, name
    never_sent = {name for name, text in day.keys.items() if not day.haul.places(text)}
    assert never_sent == {"other", "outlived, the new one"}


def test_an_upstream_key_is_nowhere_though_the_engine_repeats_it(day: Day) -> None:
    for name, text in day.upstream.items():
        assert day.haul.places(text) <= {SENT}, name
    assert all(day.used[name] for name in ("variable", LATE, "file", "second file")), "a key was not even used"
    assert {"errors", "records"} <= day.haul.places("Bearer ***"), "the engine repeated nothing"
    assert {"log", "config"} <= day.haul.places("http://***@"), "the password was not even read"


def test_an_upstream_key_is_nowhere_though_the_engine_repeats_it_amid_an_answer(day: Day) -> None:
    assert day.haul.places(day.upstream[LATE]) <= {SENT}


def test_a_prompt_is_nowhere(day: Day) -> None:
    found = day.haul.words("prompt")
    assert found == {text: {SENT} for text in day.prompts}


def test_an_answer_is_where_its_owner_reads_it_and_in_the_log(day: Day) -> None:
    found = day.haul.words("answer")
    for text in day.answers:
        assert found[text] - {SENT} == ANSWER_PLACES
    for text in day.unkept:
        # Deleted text is overwritten with the next checkpoint: until then it may still be in the WAL.
        assert found[text] - {SENT, "store"} == {"streams"}


def test_a_ticket_is_nowhere(day: Day) -> None:
    for text in day.tickets:
        assert day.haul.places(text) == {SENT}


def test_what_was_searched(day: Day) -> None:
    """A place that came out empty would prove nothing."""
    sizes = day.haul.sizes
    for text in day.tags:
        assert {"usage", "records", AT_LAST} <= day.haul.places(text)
    assert "log" not in day.haul.places(day.tags[0])
    for place in (
        "log",
        "errors",
        "headers",
        "records",
        "usage",
        "metrics",
        "timeline",
        "page",
        "config",
        "key list",
        "engine",
    ):
        assert sizes[place] > 500, place
    planted = {
        "client keys": day.keys, "upstream keys": day.upstream, "prompts": day.prompts, "answers": day.answers,
        "answers not kept": day.unkept, "tickets": day.tickets,
    }  # fmt: skip
    told = "".join(f"  {place:10} {size:>10,} bytes\n" for place, size in sizes.items())
    looked_for = ", ".join(f"{len(texts)} {name}" for name, texts in planted.items())
    sys.stdout.write(f"\nlooked for {looked_for} in\n{told}")
