"""``python -m bench.markdown``: what drawing a streamed answer costs a browser, with our renderer and with its peers.

All get the same answer of 5,000 tokens from the same server at the same pace, in a page of their own each, and are given
what has come once a frame. Rounds are interleaved. What frames show is watched in runs of their own, since watching costs time.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from bench.answer import answer, tokens_of
from bench.flashes import Flashes, flashes_in, unfolded
from bench.page_server import ANSWER, PAGE, build, page_server, versions
from bench.report import OUT, Report
from tests.system.browser import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, CDPSession, Page

TOKENS = 5000
ROUNDS = {2000: 3, 200: 2}
"""Tokens a second, and how often each renderer is measured at that pace."""
THROTTLES = (1, 4)
"""How many times slower the processor is made."""

FLOOR, OURS = "no renderer (plain text)", "@headrace/markdown"
PEERS = ("react-markdown", "streamdown")
RENDERERS = {FLOOR: "text", OURS: "headrace"} | {peer: peer for peer in PEERS}
"""What tables call them, and what the page does."""

BY_ALL = ("h1", "h2", "table", "blockquote", "li li", "pre code", "del")
DRAWN = {OURS: (*BY_ALL, "pre code span", "math")} | dict.fromkeys(PEERS, BY_ALL)
"""Elements that a page must have in the end: what is not drawn costs nothing."""

MOST_SHARE = 0.2
"""Of the scripting time of the peer that needs less."""

COLUMNS = (
    "",
    "scripting s",
    "least - most",
    "x ours",
    "frames",
    "ms a frame",
    "main thread s",
    "long tasks",
    "longest ms",
    "behind ms",
    "flashes",
    "flashing frames",
    "JS KB",
)


class Setting(msgspec.Struct, frozen=True):
    """What all renderers are measured under."""

    per_s: int
    """Tokens a second."""
    throttle: int

    def __str__(self) -> str:
        throttled = f", {self.throttle} x CPU throttle" if self.throttle > 1 else ""
        return f"{TOKENS:,} tokens at {self.per_s:,} a second{throttled}"


class Showing(msgspec.Struct, frozen=True, kw_only=True):
    """What one answer did to one page."""

    script_s: float
    """In which the main thread ran JavaScript, collecting garbage meanwhile included."""
    layout_s: float
    style_s: float
    task_s: float
    """In which the main thread did anything."""
    long_tasks_ms: list[float]
    """How long each task took that took more than 50 ms."""
    deliveries: int
    """Frames that brought text: a page that has no time for more draws less often, and so less."""
    behind_ms: float
    """From the frame in which the renderer was told the end until the page's last change."""
    total_ms: float
    """From the request until the page's last change."""
    loaded_bytes: int
    """Of JavaScript, compressed by gzip; the benchmark's own is in it."""


Rounds = Mapping[str, Sequence[Showing]]
"""What each renderer did under one setting, round by round."""


class NotShown(Exception):
    """A page lacks a part of the answer, so that what it cost means nothing."""


def main() -> int:
    options = _options()
    report = Report("markdown", "Drawing Markdown as it comes")
    build()
    text = answer(TOKENS)
    settings = [Setting(per_s, throttle) for per_s in options.rounds for throttle in THROTTLES]
    with ExitStack() as stack:
        origin = stack.enter_context(page_server(PAGE / "dist", tokens_of(text)))
        stage = Stage(stack.enter_context(chromium()), origin, ending=text.rpartition("\n")[2])
        for setting in settings:
            flashes = _watched(stage, setting)
            rounds = _rounds(stage, setting, options.rounds[setting.per_s])
            _show(report, setting, rounds, flashes)
    _note(report, text)
    code = report.save(is_checked=options.check)
    if options.out:
        shutil.copy(OUT / "markdown.md", options.out)
    return code


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"one round, at {max(ROUNDS):,} tokens a second only")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bar is missed")
    parser.add_argument("--out", metavar="FILE", type=Path, help="write the tables there, too")
    options = parser.parse_args()
    options.rounds = {max(ROUNDS): 1} if options.quick else ROUNDS
    return options


class Stage:
    """Shows answers in pages of a browser.

    Args:
        browser: Where.
        origin: Of the page and of the answer.
        ending: The answer's last paragraph, in plain words.
    """

    def __init__(self, browser: Browser, origin: str, *, ending: str) -> None:
        self._browser = browser
        self._origin = origin
        self._ending = ending

    def measure(self, renderer: str, setting: Setting) -> Showing:
        """Let a renderer show an answer alone.

        Raises:
            NotShown: The page lacks the end, or something that should be drawn.
        """
        with self._page(renderer, setting) as (page, session):
            before = _counted(session)
            seen = page.evaluate("url => bench.show(url, false)", self._answer(setting))
            after = _counted(session)
            self._check(renderer, page)
            loaded = [PAGE / "dist" / path for path in page.evaluate("() => bench.scripts()")]
        return Showing(
            script_s=after["ScriptDuration"] - before["ScriptDuration"],
            layout_s=after["LayoutDuration"] - before["LayoutDuration"],
            style_s=after["RecalcStyleDuration"] - before["RecalcStyleDuration"],
            task_s=after["TaskDuration"] - before["TaskDuration"],
            long_tasks_ms=seen["longTasksMs"],
            deliveries=seen["deliveries"],
            behind_ms=seen["behindMs"],
            total_ms=seen["totalMs"],
            loaded_bytes=sum(len(gzip.compress(path.read_bytes())) for path in loaded),
        )

    def watch(self, renderer: str, setting: Setting) -> Flashes:
        """Let a renderer show an answer alone, and return what its frames showed.

        Raises:
            NotShown: The page lacks the end, or something that should be drawn.
        """
        with self._page(renderer, setting) as (page, _):
            seen = page.evaluate("url => bench.show(url, true)", self._answer(setting))
            self._check(renderer, page)
        return flashes_in(unfolded(seen["frames"]))

    @contextmanager
    def _page(self, renderer: str, setting: Setting) -> Iterator[tuple[Page, CDPSession]]:
        """Open a page of a context of its own, so that nothing is compiled or cached yet but what shows nothing."""
        with self._browser.new_context() as context:
            page = context.new_page()
            page.goto(self._origin)
            page.evaluate("name => bench.mount(name)", RENDERERS[renderer])
            session = context.new_cdp_session(page)
            # The main thread's own clock: what other processes take from it does not count.
            session.send("Performance.enable", {"timeDomain": "threadTicks"})
            session.send("Emulation.setCPUThrottlingRate", {"rate": setting.throttle})
            yield page, session

    def _answer(self, setting: Setting) -> str:
        return f"{ANSWER}?per_s={setting.per_s}"

    def _check(self, renderer: str, page: Page) -> None:
        if self._ending not in page.evaluate("() => bench.text()"):
            raise NotShown(f"{renderer} does not show the end of the answer")
        missing = [name for name in DRAWN.get(renderer, ()) if page.query_selector(f"#answer {name}") is None]
        if missing:
            raise NotShown(f"{renderer} has drawn nothing as {', '.join(missing)}")


def _counted(session: CDPSession) -> dict[str, float]:
    return {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}


def _watched(stage: Stage, setting: Setting) -> dict[str, Flashes]:
    seen: dict[str, Flashes] = {}
    for name in (OURS, *PEERS):
        seen[name] = stage.watch(name, setting)
        _progress(f"{setting}: watched: {name}: {seen[name].flashes} flashes")
    return seen


def _rounds(stage: Stage, setting: Setting, rounds: int) -> dict[str, list[Showing]]:
    taken: dict[str, list[Showing]] = {name: [] for name in RENDERERS}
    for number in range(rounds):
        for name, showings in taken.items():
            # One round tells that the benchmark itself costs next to nothing; at 25 s each, more would only take long.
            if name == FLOOR and number > 0:
                continue
            showings.append(stage.measure(name, setting))
            _progress(f"{setting}: round {number + 1} of {rounds}: {name}: {showings[-1].script_s:.2f} s")
    return taken


def _progress(text: str) -> None:
    """Say what is done, apart from the report."""
    print(text, file=sys.stderr, flush=True)


def _show(report: Report, setting: Setting, rounds: Rounds, flashes: Mapping[str, Flashes]) -> None:
    report.data(str(setting), {"rounds": msgspec.to_builtins(rounds), "flashes": msgspec.to_builtins(flashes)})
    report.table(str(setting), COLUMNS, rows(rounds, flashes))
    report.bar(f"of the lesser peer's scripting time, median, {setting}", share(rounds), most=MOST_SHARE)
    report.bar(f"flashes, {setting}", flashes[OURS].flashes, most=0)
    if examples := flashes[OURS].examples:
        report.note(f"Flashed: {'; '.join(map(repr, examples))}")


def share(rounds: Rounds) -> float:
    """Return our scripting time as a part of that of the peer that needs less, the median over the rounds."""
    first, second = (rounds[peer] for peer in PEERS)
    in_rounds = zip(rounds[OURS], first, second, strict=True)
    return statistics.median(ours.script_s / min(one.script_s, other.script_s) for ours, one, other in in_rounds)


def rows(rounds: Rounds, flashes: Mapping[str, Flashes]) -> list[tuple[str, ...]]:
    """Return a row of the table for each renderer; those without ``flashes`` show none by their nature."""
    ours_s = _median(rounds[OURS], lambda showing: showing.script_s)
    return [
        (
            name,
            *_figures(showings, ours_s),
            *_flashed(flashes.get(name)),
            f"{_median(showings, lambda showing: showing.loaded_bytes / 1000):.0f}",
        )
        for name, showings in rounds.items()
    ]


def _figures(showings: Sequence[Showing], ours_s: float) -> tuple[str, ...]:
    script_s = [showing.script_s for showing in showings]
    return (
        f"{statistics.median(script_s):.2f}",
        f"{min(script_s):.2f} - {max(script_s):.2f}",
        f"{statistics.median(script_s) / ours_s:.1f}" if ours_s else "-",
        f"{_median(showings, lambda showing: showing.deliveries):.0f}",
        f"{_median(showings, lambda showing: showing.script_s * 1000 / showing.deliveries):.1f}",
        f"{_median(showings, lambda showing: showing.task_s):.2f}",
        f"{_median(showings, lambda showing: len(showing.long_tasks_ms)):g}",
        f"{max((ms for showing in showings for ms in showing.long_tasks_ms), default=0):.0f}",
        f"{_median(showings, lambda showing: showing.behind_ms):.0f}",
    )


def _flashed(flashes: Flashes | None) -> tuple[str, str]:
    return ("-", "-") if flashes is None else (f"{flashes.flashes}", f"{flashes.marked} of {flashes.frames}")


def _median(showings: Sequence[Showing], of: Callable[[Showing], float]) -> float:
    return float(statistics.median(map(of, showings)))


def _note(report: Report, text: str) -> None:
    known = ", ".join(f"{name} {version}" for name, version in versions(("react", *PEERS)).items())
    report.note(f"{len(text.encode()) / 1000:.1f} KB of Markdown; {known}.")
    report.note(
        "Ours highlights code and sets math, by modules that it loads when it meets some; the peers do neither."
    )


if __name__ == "__main__":
    sys.exit(main())
