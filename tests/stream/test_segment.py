"""Segments: cutting one at an offset keeps exactly the later entries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headrace.stream.segment import Flush, Segment
from headrace.types.ids import Offset


@given(lines=st.lists(st.binary(min_size=1).filter(lambda line: b"\n" not in line), min_size=1), data=st.data())
def test_since_keeps_the_entries_from_an_offset_on(lines: list[bytes], data: st.DataObject) -> None:
    first = Offset(data.draw(st.integers(0, 1000)))
    segment = Segment(first, len(lines), b"\n".join(lines))
    cut = Offset(data.draw(st.integers(first, first + len(lines) - 1)))
    part = segment.since(cut)
    assert (part.first, part.next) == (cut, segment.next)
    assert part.data.split(b"\n") == lines[cut - first :]
    assert part.count == len(lines) - (cut - first)


def test_since_an_earlier_offset_is_the_segment_itself() -> None:
    segment = Segment(Offset(5), 1, b"{}")
    assert segment.since(Offset(3)) is segment


@given(
    lines=st.lists(st.binary(min_size=1, max_size=9).filter(lambda line: b"\n" not in line), min_size=1),
    max_bytes=st.integers(0, 60),
)
def test_head_keeps_the_first_entries_that_fit_and_at_least_one(lines: list[bytes], max_bytes: int) -> None:
    segment = Segment(Offset(7), len(lines), b"\n".join(lines))
    part = segment.head(max_bytes)
    kept = part.data.split(b"\n")
    assert (part.first, part.count) == (7, len(kept))
    assert kept == lines[: len(kept)]
    assert len(part.data) <= max_bytes or part.count == 1
    assert part is segment or len(part.data) + 1 + len(lines[len(kept)]) > max_bytes


def test_tokens_up_to_the_end_are_known_of_parts_that_have_the_end() -> None:
    segment = Segment(Offset(5), 3, b"a\nb\nc", 7.5, 9)
    assert segment.since(Offset(6)).tokens == 9
    assert segment.first_entries(2).tokens is None
    assert segment.head(1).tokens is None


def test_every_part_of_a_segment_has_the_time_of_the_whole() -> None:
    segment = Segment(Offset(5), 3, b"a\nb\nc", 7.5)
    parts = [segment.since(Offset(6)), segment.first_entries(1), segment.head(1)]
    assert [(part.first, part.count, part.taken_at) for part in parts] == [(6, 2, 7.5), (5, 1, 7.5), (5, 1, 7.5)]


@given(lines=st.lists(st.binary().filter(lambda line: b"\n" not in line), min_size=1))
def test_a_flush_counts_the_json_and_not_what_stands_between(lines: list[bytes]) -> None:
    segment = Segment(Offset(2), len(lines), b"\n".join(lines), 7.5)
    assert segment.flush == Flush(Offset(2), len(lines), sum(len(line) for line in lines), 7.5)
