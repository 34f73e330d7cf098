"""Pictures of the page in the states that people see it in: ``python -m tests.web.screenshots FOLDER``."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

from tests.processes import Relay, Simulator
from tests.system.browser import chromium
from tests.system.wire import wait_for
from tests.web.driver import PHONE, ChatPage, stream_ids

ANSWER = Path(__file__).parent / "answer.md"
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SIZES = {"desk": (1280, 800), "phone": (PHONE["width"], PHONE["height"])}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as kept,
        Simulator("--ttft-ms", "300", "--itl-ms", "25", "--text", ANSWER.read_text()) as engine,
        Relay(engine.url, Path(kept) / "streams.db") as relay,
        chromium() as browser,
    ):
        for theme in THEMES:
            for name, (width, height) in SIZES.items():
                with browser.new_context(
                    color_scheme=theme, viewport={"width": width, "height": height}, device_scale_factor=1.5
                ) as context:
                    album = Album(ChatPage(context, relay.origin), folder, f"{name}-{theme}")
                    of_chat(album, engine)
                    of_streams(album, relay)
                    sys.stdout.write(f"{name} {theme}: errors of the page: {album.chat.errors.seen}\n")


class Album:
    """Takes the pictures of one theme and one width.

    Args:
        chat: The page.
        folder: Where they go.
        name: How their names begin.
    """

    def __init__(self, chat: ChatPage, folder: Path, name: str) -> None:
        self.chat = chat
        self._folder = folder
        self._name = name
        self._taken = 0

    def take(self, what: str) -> None:
        self._taken += 1
        time.sleep(0.4)  # Fades have ended.
        self.chat.page.screenshot(path=self._folder / f"{self._name}-{self._taken:02}-{what}.png")

    def go(self, place: str) -> None:
        self.chat.page.evaluate("place => { location.hash = place }", place)


def of_chat(album: Album, engine: Simulator) -> None:
    """The first visit, and every way an answer may end."""
    chat = album.chat
    chat.box.wait_for()
    album.take("first-visit")
    chat.send("How does a water wheel work?")
    chat.wait_for_words(90)
    album.take("streaming")
    chat.wait_for_status("Complete")
    album.take("complete")
    chat.page.evaluate("document.querySelector('article').scrollIntoView()")
    album.take("complete-top")
    chat.send("And a tide mill?")
    chat.wait_for_words(40)
    chat.press("Stop")
    chat.wait_for_status("Stopped by you")
    album.take("stopped")
    chat.send("And a wind mill?")
    chat.wait_for_words(30)
    engine.kill()
    chat.wait_for_status("kept")
    album.take("truncated")
    chat.press("Retry")
    chat.wait_for_status("No answer")
    album.take("failed")
    engine.start()
    chat.press("Settings")
    album.take("drawer")
    chat.page.keyboard.press("Escape")


def of_streams(album: Album, relay: Relay) -> None:
    """The list, a timeline as it grows and when it is done, and the page without its relay."""
    chat = album.chat
    chat.send("Once more, please.")
    chat.wait_for_words(20)
    album.go("#/streams")
    chat.page.get_by_text("Complete").first.wait_for()
    album.take("streams")
    album.go(f"#/streams/{stream_ids(relay)[0]}")
    chat.page.get_by_text("Flushes").first.wait_for()
    album.take("timeline-live")
    wait_for(lambda: not stream_ids(relay, state="in_progress"), within_s=30, what="the end")
    time.sleep(2)  # The page asks once a second.
    album.take("timeline")
    relay.terminate()
    album.go("#/")
    time.sleep(3)
    album.take("relay-gone")
    relay.start()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
