"""The generation against a scripted llama.cpp: what the two sides hand over, and when the loop is woken."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from headrace.engines.embedded.generation import EmbeddedGeneration
from headrace.engines.embedded.native import NativeRequest
from headrace.types.outcome import Cause

Callback = Callable[[bytes], bool]

_PROGRESS = b'{"choices":[{"index":0,"delta":{"role":"assistant"}}],"prompt_progress":{"total":9,"processed":4}}'


def _chunk(text: str) -> bytes:
    return b'{"choices":[{"index":0,"delta":{"content":"%s"}}]}' % text.encode()


def _say(*lines: bytes) -> Callable[[Callback], None]:
    def play(callback: Callback) -> None:
        for line in lines:
            assert callback(line) is False

    return play


class _Server:
    """Plays one answer in the calling thread."""

    def __init__(self, play: Callable[[Callback], None]) -> None:
        self._play = play

    def handle_completions(self, body: bytes, callback: Callback) -> None:
        raise AssertionError("nobody asks for a plain completion here")

    def handle_chat_completions(self, body: bytes, callback: Callback) -> None:
        assert body == b"{}"
        self._play(callback)


class _Watched:
    """A generation and the counts of what it told."""

    def __init__(self, *, again: int = 0) -> None:
        self.wakes = 0
        self.aborts = 0
        self.prefills = 0
        self.generation = EmbeddedGeneration(
            NativeRequest(b"{}", choices=1, is_short=True, again=again),
            self.ready,
            loop=asyncio.get_running_loop(),
            on_prefilled=self._prefilled,
            on_abort=self._aborted,
        )
        self._is_woken = asyncio.Event()

    async def play(self, play: Callable[[Callback], None]) -> None:
        """Run in a thread, as the engine does, and let the loop do what was posted."""
        thread = threading.Thread(target=self.generation.run, args=(_Server(play),))
        thread.start()
        await asyncio.to_thread(thread.join)
        await asyncio.sleep(0)

    def ready(self) -> None:
        self.wakes += 1
        self._is_woken.set()

    async def woken(self) -> None:
        await self._is_woken.wait()
        self._is_woken.clear()

    def _prefilled(self, generation: EmbeddedGeneration) -> None:
        assert generation is self.generation
        self.prefills += 1

    def _aborted(self, generation: EmbeddedGeneration) -> None:
        assert generation is self.generation
        self.aborts += 1


async def test_chunks_come_out_verbatim_with_their_views_and_then_the_end() -> None:
    watched = _Watched()
    lines = [_chunk("a"), _chunk("b")]
    await watched.play(_say(*lines))
    chunks = watched.generation.read()
    assert chunks is not None
    assert chunks.lines() == lines
    assert [view.choices[0].delta.content for view in chunks.views] == ["a", "b"]
    assert watched.generation.end is not None
    assert watched.generation.end.cause is None
    assert watched.generation.read() is None


async def test_what_the_reader_has_already_is_not_read_again() -> None:
    watched = _Watched(again=5)
    await watched.play(_say(_chunk(" qu"), _chunk("ick"), _chunk(" fox")))
    assert watched.generation.read(1) is None
    assert watched.generation.end is None
    chunks = watched.generation.read()
    assert chunks is not None
    assert [view.choices[0].delta.content for view in chunks.views] == ["k", " fox"]
    assert chunks.lines()[1] == _chunk(" fox")
    assert watched.generation.end is not None


async def test_many_chunks_are_one_wake_up() -> None:
    watched = _Watched()
    is_read = threading.Event()

    def play(callback: Callback) -> None:
        for _ in range(100):
            callback(_chunk("a"))
        is_read.wait()
        callback(_chunk("b"))

    playing = asyncio.create_task(watched.play(play))
    await watched.woken()
    assert watched.wakes == 1
    is_read.set()
    await playing
    assert watched.wakes == 2


async def test_nobody_is_woken_while_the_tick_reads() -> None:
    watched = _Watched()
    watched.generation.watch(None)
    await watched.play(_say(*[_chunk("a")] * 100))
    watched.generation.returned()
    assert watched.wakes == 0
    chunks = watched.generation.read()
    assert chunks is not None
    assert len(chunks.views) == 100
    assert watched.generation.end is not None


async def test_watching_again_wakes_when_something_waits() -> None:
    watched = _Watched()
    watched.generation.watch(None)
    await watched.play(_say(_chunk("a")))
    watched.generation.watch(watched.ready)
    assert watched.wakes == 0
    await asyncio.sleep(0)
    assert watched.wakes == 1


async def test_the_first_chunk_is_the_end_of_the_prefill_whoever_reads() -> None:
    watched = _Watched()
    watched.generation.watch(None)
    await watched.play(_say(_PROGRESS))
    assert watched.prefills == 0
    await watched.play(_say(_chunk("a"), _chunk("b")))
    assert watched.prefills == 1


async def test_progress_is_swallowed_and_wakes_nobody() -> None:
    watched = _Watched()
    await watched.play(_say(_PROGRESS))
    assert watched.wakes == 0
    assert watched.generation.read() is None


async def test_text_that_looks_like_progress_is_not_swallowed() -> None:
    watched = _Watched()
    await watched.play(_say(_chunk(r"\"prompt_progress\":")))
    chunks = watched.generation.read()
    assert chunks is not None
    assert chunks.views[0].choices[0].delta.content == '"prompt_progress":'


async def test_being_accepted_is_told() -> None:
    watched = _Watched()
    assert not watched.generation.is_accepted
    watched.generation.accept()
    await asyncio.sleep(0)
    assert watched.generation.is_accepted
    assert watched.wakes == 1


@pytest.mark.parametrize("chunk", [_chunk("b"), _PROGRESS])
async def test_abort_cancels_at_the_next_token_or_progress_and_is_silent(chunk: bytes) -> None:
    watched = _Watched()
    answers: list[bool] = []
    wakes: list[int] = []
    loop, aborted = asyncio.get_running_loop(), threading.Event()

    def abort() -> None:
        watched.generation.abort()
        wakes.append(watched.wakes)  # the first chunk may have been told before
        aborted.set()

    def play(callback: Callback) -> None:
        answers.append(callback(_chunk("a")))
        loop.call_soon_threadsafe(abort)
        aborted.wait()
        answers.append(callback(chunk))

    await watched.play(play)
    watched.generation.abort()
    watched.generation.returned()
    assert answers == [False, True]
    assert watched.aborts == 1
    assert [watched.wakes] == wakes


async def test_aborted_before_it_ran_it_never_reaches_the_engine() -> None:
    watched = _Watched()
    watched.generation.abort()
    await watched.play(lambda callback: pytest.fail("asked"))
    assert watched.generation.read() is None


async def test_an_error_object_is_the_end_and_no_chunk() -> None:
    watched = _Watched()
    await watched.play(_say(b'{"error":{"code":400,"message":"too long"}}'))
    assert watched.generation.read() is None
    end = watched.generation.end
    assert end is not None
    assert (end.cause, end.status, end.message) == (Cause.UPSTREAM_REJECTED, 400, "too long")


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ValueError("no"), Cause.UPSTREAM_REJECTED),
        (RuntimeError("no"), Cause.UPSTREAM_REJECTED),
        (MemoryError("no"), Cause.UPSTREAM_CLOSED),
    ],
)
async def test_an_exception_of_the_engine_is_the_end(error: Exception, cause: Cause) -> None:
    watched = _Watched()

    def play(callback: Callback) -> None:
        raise error

    await watched.play(play)
    assert watched.generation.read() is None
    assert watched.generation.end is not None
    assert watched.generation.end.cause is cause


async def test_what_is_no_json_object_is_counted_and_skipped() -> None:
    watched = _Watched()
    lines = [b"nope", b"[]", b'"\xff"', _chunk("a")]
    await watched.play(_say(*lines))
    chunks = watched.generation.read()
    assert chunks is not None
    assert chunks.data == _chunk("a")
    assert watched.generation.malformed_chunks == 3


async def test_a_fault_in_the_callback_is_a_protocol_error_not_a_short_answer() -> None:
    watched = _Watched()
    answers: list[bool] = []
    watched.generation._arrived = None  # type: ignore[assignment]

    def play(callback: Callback) -> None:
        answers.append(callback(_chunk("a")))

    thread = threading.Thread(target=watched.generation.run, args=(_Server(play),))
    thread.start()
    await asyncio.to_thread(thread.join)
    assert answers == [True]
    assert watched.generation._outcome is not None
    assert watched.generation._outcome.cause is Cause.UPSTREAM_PROTOCOL
