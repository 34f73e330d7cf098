"""``headrace chat`` as somebody sees it: a real terminal, a relay, an engine that misbehaves."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.cli.cutter import Cutter
from tests.cli.tmux import TMUX, Terminal
from tests.processes import Relay
from tests.system.wire import wait_for

from headrace.engines.scripted.faults import Fin
from headrace.engines.scripted.script import Script
from headrace.engines.scripted.server import SimulatorServer

ANSWER = """\
# Water wheels

A *headrace* brings **water** to the wheel.

```python
def power(flow, head):
    return 9.81 * flow * head
```

1. overshot
2. undershot

| wheel | efficiency |
|-------|-----------:|
| overshot | 85 |

That is all."""

RENDERED = """\
Water wheels

A headrace brings water to the wheel.

```python
def power(flow, head):
    return 9.81 * flow * head
```

 1 overshot
 2 undershot

 wheel     efficiency
 ────────────────────
 overshot          85

That is all.
"""

SLOW = Script(deltas=["one ", "two ", "three "] * 400, itl_ms=40)


class Engine(SimulatorServer):
    """A simulator on a thread of its own, whose script can be changed."""

    def play(self, script: Script) -> None:
        """Answer every request by this script from now on."""
        self.scripts.set([], then=script)

    @property
    def outcomes(self) -> list[str | None]:
        return [record.outcome for record in self.records.all()]


@pytest.fixture
def engine() -> Iterator[Engine]:
    serving: Future[Engine] = Future()
    done = asyncio.Event()

    async def serve() -> None:
        async with Engine(default=Script(text=ANSWER, itl_ms=5), models=["sim"]) as server:
            serving.set_result(server)
            await done.wait()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        yield serving.result(10)
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(10)
        loop.close()


@pytest.fixture
def relay(engine: Engine, tmp_path: Path) -> Iterator[Relay]:
    with Relay(engine.url, tmp_path / "streams.db") as relay:
        yield relay


@contextmanager
def chat(url: str, state: Path, *options: str, columns: int = 80, rows: int = 24) -> Iterator[Terminal]:
    """Talk in a terminal; returns when it asks for a question."""
    command = [sys.executable, "-m", "headrace", "chat", "--url", url, *options]
    environ = {"HOME": str(state), "XDG_STATE_HOME": str(state)}
    with (
        tempfile.TemporaryDirectory(prefix="headrace-tmux-") as folder,
        Terminal(command, Path(folder), environ=environ, columns=columns, rows=rows) as terminal,
    ):
        terminal.wait_for("\n>")
        yield terminal


@pytest.fixture(autouse=True)
def has_tmux(require: Callable[[object, str], None]) -> None:
    require(TMUX, "tmux")


def kept(terminal: Terminal, name: str) -> str:
    """Return the screen; write it down for people who want to look at it."""
    screen = terminal.screen()
    folder = os.environ.get("HEADRACE_TEST_SCREENS")
    if folder:
        Path(folder, f"{name}.txt").write_text(terminal.screen(styled=True))
    return screen


def test_an_answer_is_rendered_block_by_block(relay: Relay, tmp_path: Path) -> None:
    with chat(relay.origin, tmp_path) as terminal:
        terminal.type("Tell me of water wheels")
        terminal.wait_for("tokens/s")
        screen = kept(terminal, "markdown")
        terminal.press("C-d")
        terminal.wait_for("exit code 0")
    assert RENDERED in screen
    assert re.search(r"^first token after \d+\.\d\d s · \d+ tokens · \d+\.\d tokens/s$", screen, re.MULTILINE)
    assert (tmp_path / "headrace" / "chat_history").read_text() == "Tell me of water wheels\n"
    assert (tmp_path / "headrace" / "chat_history").stat().st_mode & 0o777 == 0o600


def test_what_has_scrolled_off_stays_as_it_came(relay: Relay, tmp_path: Path) -> None:
    with chat(relay.origin, tmp_path, rows=3) as terminal:
        terminal.type("Tell me of water wheels")
        terminal.wait_for("tokens/s")
        screen = kept(terminal, "low")
    # Of the table three rows and the one of the cursor would have to be on the screen.
    raw = ANSWER[ANSWER.index("| wheel") : ANSWER.index("\nThat")]
    assert RENDERED[: RENDERED.index(" wheel ")] + raw + "\nThat is all.\n" in screen


def test_ctrl_c_stops_the_engine_and_keeps_what_came(engine: Engine, relay: Relay, tmp_path: Path) -> None:
    engine.play(SLOW)
    saved = tmp_path / "saved.md"
    with chat(relay.origin, tmp_path) as terminal:
        terminal.type("Count")
        terminal.wait_for("one two three one")
        terminal.press("C-c")
        terminal.wait_for("stopped · ")
        wait_for(lambda: engine.outcomes == ["client_closed"], what="the engine's abort")
        engine.play(Script(text="Gladly."))
        terminal.type("Go on")
        terminal.wait_for("Gladly.")
        terminal.wait_for("tokens/s", times=1)
        terminal.type(f"/save {saved}")
        terminal.wait_for("saved to")
        terminal.press("C-c")
        terminal.wait_for("Ctrl-C again")
        screen = kept(terminal, "stop")
        terminal.press("C-c")
        terminal.wait_for("exit code 0")
    assert "Traceback" not in screen
    assert re.search(r"## Answer\n\none two three one.*\n\n\*\(stopped\)\*\n\n## You\n\nGo on\n\n", saved.read_text())
    assert relay.metric("headrace_streams_total") == 2


def test_an_engine_that_dies_is_told_and_the_next_question_works(engine: Engine, relay: Relay, tmp_path: Path) -> None:
    engine.play(Script(text="The **wheel** turns and then", itl_ms=10, fault=Fin(at=4)))
    with chat(relay.origin, tmp_path) as terminal:
        terminal.type("What happens?")
        terminal.wait_for("(truncated, upstream_closed)")
        engine.play(Script(text="It turns."))
        terminal.type("/retry")
        terminal.wait_for("It turns.")
        screen = kept(terminal, "death")
        styled = terminal.screen(styled=True)
    assert "\nThe wheel turns and\nThe stream was truncated: The engine closed the connection" in screen
    assert "\x1b[31mThe stream was truncated" in styled


@pytest.mark.parametrize("as_json", [False, True])
def test_one_answer_that_is_not_whole_is_exit_code_1(engine: Engine, relay: Relay, as_json: bool) -> None:
    engine.play(Script(text="The **wheel** turns and then", fault=Fin(at=4)))
    options = ["--json"] if as_json else []
    command = [sys.executable, "-m", "headrace", "chat", "--url", relay.origin, *options, "What happens?"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    if as_json:
        told = json.loads(done.stdout)
        assert (told["text"], told["state"], told["cause"]) == (
            "The **wheel** turns and",
            "truncated",
            "upstream_closed",
        )
        assert told["message"]
        assert done.stderr == ""
    else:
        assert done.stdout == "The **wheel** turns and\n"
        assert done.stderr.endswith("(truncated, upstream_closed)\n")


def test_a_dropped_connection_is_resumed(engine: Engine, relay: Relay, tmp_path: Path) -> None:
    engine.play(Script(text=ANSWER, itl_ms=40))
    with Cutter(relay.port) as wire, chat(wire.url, tmp_path) as terminal:
        terminal.type("Tell me of water wheels")
        terminal.wait_for("def power(")
        wire.cut()
        terminal.wait_for("resumed")
        terminal.wait_for("tokens/s")
        screen = kept(terminal, "resume")
    first, last = RENDERED.split("```python\n")
    assert f"{first}connection lost, resuming …\nresumed\n```python\n{last}" in screen
    assert "· 1 reconnect\n" in screen
    assert engine.outcomes == ["completed"]


def test_a_relay_that_is_killed_and_comes_back_says_how_the_answer_ended(
    engine: Engine, relay: Relay, tmp_path: Path
) -> None:
    engine.play(SLOW)
    with chat(relay.origin, tmp_path) as terminal:
        terminal.type("Count")
        terminal.wait_for("one two three one")
        relay.kill()
        terminal.wait_for("connection lost, resuming …")
        relay.start()
        terminal.wait_for("(truncated, node_lost)")
        engine.play(Script(text="Here again."))
        terminal.type("Are you there?")
        terminal.wait_for("Here again.")
        screen = kept(terminal, "restart")
    assert "\nresumed\n" in screen


def test_a_stop_that_nobody_can_be_told_is_not_waited_for(engine: Engine, relay: Relay, tmp_path: Path) -> None:
    engine.play(SLOW)
    with chat(relay.origin, tmp_path) as terminal:
        terminal.type("Count")
        terminal.wait_for("one two three one")
        relay.kill()
        terminal.press("C-c")
        terminal.wait_for("Ctrl-C again waits no longer")
        terminal.press("C-c")
        terminal.wait_for("stopped · ")
        terminal.wait_for("\n>", times=2)


def test_a_relay_that_is_gone_is_told_with_what_starts_it(relay: Relay, tmp_path: Path) -> None:
    with chat(relay.origin, tmp_path) as terminal:
        relay.terminate()
        terminal.type("Are you there?")
        screen = terminal.wait_for("start one with")
        assert f"no relay answers at {relay.origin}; start one with: headrace serve --port {relay.port}\n" in screen
        relay.start()
        terminal.type("/retry")
        terminal.wait_for("That is all.")


def test_what_a_model_writes_does_not_command_the_terminal(engine: Engine, relay: Relay, tmp_path: Path) -> None:
    engine.play(Script(deltas=["safe\x1b]0;ev", "il\a and\x1b", "[2J\x1b[8m s", "ound\r\x9b2J <https://x/%1b%5b2J>\n"]))
    with chat(relay.origin, tmp_path) as terminal:
        terminal.type("Attack")
        terminal.wait_for("tokens/s")
        screen = kept(terminal, "attack")
    assert "> Attack\nsafe and sound <https://x/%1b%5b2J>\n" in screen


def test_a_model_that_thinks_first_is_told_once(engine: Engine, relay: Relay, tmp_path: Path) -> None:
    engine.play(Script(text="It turns.", reasoning="Let me think of wheels.", itl_ms=20))
    with chat(relay.origin, tmp_path) as terminal:
        terminal.type("What happens?")
        terminal.wait_for("tokens/s")
        assert "> What happens?\nthinking …\nIt turns.\n" in terminal.screen()


def test_several_lines_and_a_paste_are_one_question(engine: Engine, relay: Relay, tmp_path: Path) -> None:
    engine.play(Script(text="Yes."))
    saved = tmp_path / "saved.json"
    with chat(relay.origin, tmp_path, "--save", str(saved)) as terminal:
        terminal.type("one\\")
        terminal.type("two")
        terminal.wait_for("Yes.")
        terminal.wait_for("\n>", times=2)
        terminal.paste("three\n  four")
        terminal.press("Enter")
        terminal.wait_for("Yes.", times=2)
        terminal.wait_for("\n>", times=3)
    text = saved.read_text()
    assert '"prompt": "one\\ntwo"' in text
    assert '"prompt": "three\\n  four"' in text
