"""Times that a page tells, beside those of the machine's other processes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Locator


def press(button: Locator) -> float:
    """Press a button; returns when the page was told, in seconds of CLOCK_MONOTONIC."""
    listen = "() => { window.pressedAt = Date.now(); }, { capture: true, once: true }"
    button.evaluate(f"button => button.addEventListener('click', {listen})")
    button.click()
    return monotonic_of(button.page.evaluate("window.pressedAt"))


def monotonic_of(page_ms: float) -> float:
    """Return seconds of CLOCK_MONOTONIC for a page's ``Date.now()``, to a millisecond unless somebody sets the clock."""
    return page_ms / 1000 - (time.time() - time.monotonic())
