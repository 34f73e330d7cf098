"""Splices: one answer for the client, whatever the later attempt's chunks look like and however they arrive."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.protocol.assemble import CompletionAssembler
from headrace.protocol.chunk_view import text_of, view_of
from headrace.protocol.continuing import text_to_send
from headrace.protocol.splice import Mode, Splice
from headrace.types.chunk import Chunks, ChunkView

SEAM = {"seam": {"engine": "b"}}
TEXT = st.text(alphabet=" \n\t\u00a0\u3000ab.\u0107\u200b\U0001f600", max_size=24) | st.text(max_size=12)


def raw(*choices: dict[str, Any], **fields: Any) -> bytes:
    return msgspec.json.encode({"id": "new", "created": 9, "model": "b", "choices": list(choices), **fields})


def chat(content: Any = None, *, finish_reason: str | None = None, index: int = 0, **delta: Any) -> bytes:
    delta = delta if content is None else {**delta, "content": content}
    return raw({"index": index, "delta": delta, "finish_reason": finish_reason})


def plain(text: str = "", *, finish_reason: str | None = None) -> bytes:
    return raw({"index": 0, "text": text, "finish_reason": finish_reason})


def chunks(lines: list[bytes]) -> Chunks:
    return Chunks(data=b"\n".join(lines), views=[view_of(line) or ChunkView() for line in lines])


def splice(mode: Mode, delivered: str = "", **options: Any) -> Splice:
    return Splice(mode=mode, delivered=delivered, id="old", created=7, roles={0}, **options)


def fed(one: Splice, *lines: bytes) -> list[bytes]:
    """Feed each chunk alone and return what went out."""
    out: list[bytes] = []
    for line in lines:
        spliced = one.feed(chunks([line]))
        if spliced is not None:
            assert spliced.views == [view_of(line) for line in spliced.lines()]
            out += spliced.lines()
    return out


def text(lines: list[bytes]) -> str:
    return "".join(text_of(line) for line in lines)


def answer_of(whole: str, data: st.DataObject) -> list[bytes]:
    """Return one way in which an engine may say ``whole``: with or without a role, empty deltas, either contract."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    if data.draw(st.booleans()):
        return [*map(plain, pieces), plain(finish_reason="stop")]
    role = data.draw(st.sampled_from(["none", "alone", "first", "every"]))
    lines = [chat(role="assistant"), chat("", role="assistant")] if role == "alone" else []
    for position, piece in enumerate(pieces):
        has_role = role == "every" or (role == "first" and position == 0)
        lines.append(chat(piece, role="assistant") if has_role else chat(piece))
    if data.draw(st.booleans()):
        return [*lines[:-1], chat(pieces[-1], finish_reason="stop")]
    return [*lines, chat(finish_reason="stop")]


def in_reads(one: Splice, lines: list[bytes], data: st.DataObject) -> list[bytes]:
    """Feed the chunks in reads of any size."""
    out: list[bytes] = []
    while lines:
        size = data.draw(st.integers(1, len(lines)))
        spliced = one.feed(chunks(lines[:size]))
        lines = lines[size:]
        if spliced is not None:
            assert len(spliced.views) == len(spliced.lines())
            assert spliced.views == [view_of(line) for line in spliced.lines()]
            out += spliced.lines()
    return out


def is_one_answer(lines: list[bytes]) -> bool:
    heads = [msgspec.json.decode(line) for line in lines]
    roles = [view for line in lines for view in [view_of(line)] if view and any(c.delta.role for c in view.choices)]
    return all((head["id"], head["created"], head["model"]) == ("old", 7, "b") for head in heads) and not roles


@given(TEXT, st.data())
def test_a_continued_answer_is_whole_wherever_it_is_cut(whole: str, data: st.DataObject) -> None:
    delivered = whole[: data.draw(st.integers(0, len(whole)))]
    one = splice(Mode.CONTINUE, delivered, seam=SEAM)
    out = in_reads(one, answer_of(whole[len(text_to_send(delivered)) :], data), data)
    assert delivered + text(out) == whole
    assert is_one_answer(out)
    assert not one.is_broken
    assert one.is_joined == bool(text(out))
    assert [b'"headrace"' in line for line in out].count(True) == (1 if text(out) else 0)
    assert (view_of(out[-1]) or ChunkView()).choices[0].finish_reason == "stop"


@given(TEXT, st.data())
def test_an_engine_that_says_again_what_it_was_given_is_cut_too(whole: str, data: st.DataObject) -> None:
    delivered = whole[: data.draw(st.integers(0, len(whole)))]
    one = splice(Mode.CONTINUE, delivered, echoes=True)
    assert delivered + text(in_reads(one, answer_of(whole, data), data)) == whole
    assert not one.is_broken


@given(TEXT, st.data())
def test_a_repeated_answer_is_whole_wherever_it_is_cut(whole: str, data: st.DataObject) -> None:
    delivered = whole[: data.draw(st.integers(0, len(whole)))]
    one = splice(Mode.REPLAY, delivered, seam=SEAM)
    out = in_reads(one, answer_of(whole, data), data)
    assert delivered + text(out) == whole
    assert is_one_answer(out)
    assert one.is_joined
    assert not one.is_broken


@given(TEXT.filter(bool), TEXT, st.data())
def test_nothing_follows_when_the_repeated_answer_differs(delivered: str, other: str, data: st.DataObject) -> None:
    one = splice(Mode.REPLAY, delivered, seam=SEAM)
    out = in_reads(one, answer_of(other, data), data)
    if other.startswith(delivered):
        assert delivered + text(out) == other
    else:
        assert out == []
        assert one.is_broken
        assert not one.is_joined


@given(TEXT, TEXT, st.data())
def test_an_answer_from_its_beginning_keeps_its_text(delivered: str, whole: str, data: st.DataObject) -> None:
    out = in_reads(splice(Mode.FRESH, delivered, seam=SEAM), answer_of(whole, data), data)
    assert text(out) == whole
    assert is_one_answer(out)


ODD = [
    chat(reasoning_content="hm"),
    chat("a", tool_calls=[{"index": 0, "function": {"arguments": "{"}}]),
    chat("a", index=1),
    chat([{"type": "text", "text": " a"}]),
    chat([{"type": "thinking", "thinking": []}]),
    chat(finish_reason="stop"),
    raw(usage={"total_tokens": 1}),
    raw({"index": 0, "delta": {"content": "a"}}, usage={"total_tokens": 1}),
    b'{"error":{"message":"no"}}',
    b'{"choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}',
    b'{"choices":[{"index":0,"delta":{"content":"\\ude00"}}],"n":1e999}',
    b'{"choices":{"delta":{"content":" a"}}}',
    b'{"choices":[{"delta":" a"}]}',
    b'{"choices":[{"text":7}]}',
    b"{}",
]


@given(
    st.sampled_from(Mode),
    st.sampled_from(["", " ", "a", "a ", " a\n", "\ud83d"]),
    st.lists(st.text(" a\n", max_size=3).map(chat) | st.sampled_from(ODD), min_size=1, max_size=8),
    st.data(),
)
def test_how_the_chunks_are_read_makes_no_difference(
    mode: Mode, delivered: str, lines: list[bytes], data: st.DataObject
) -> None:
    one, other = splice(mode, delivered, seam=SEAM), splice(mode, delivered, seam=SEAM)
    assert in_reads(one, lines, data) == fed(other, *lines)
    assert (one.is_broken, one.is_joined, one.breach) == (other.is_broken, other.is_joined, other.breach)


def test_chunks_keep_the_first_identity_and_the_model_that_answers() -> None:
    (line,) = fed(splice(Mode.CONTINUE, "Once"), chat(" upon"))
    assert (
        line
        == b'{"id":"old","created":7,"model":"b","choices":[{"index":0,"delta":{"content":" upon"},"finish_reason":null}]}'
    )


def test_a_chunk_without_an_identity_gets_one() -> None:
    assert fed(splice(Mode.FRESH), b'{"choices":[]}') == [b'{"choices":[],"id":"old","created":7}']


def test_while_the_log_has_no_identity_the_attempt_keeps_its_own() -> None:
    assert fed(Splice(mode=Mode.FRESH), chat("a")) == [chat("a")]


def test_a_chunk_that_needs_no_change_stays_byte_for_byte() -> None:
    line = b'{ "id" : "old", "created" : 7, "choices":[{"index":0,"delta":{"content":"\\u0061"}}], "x":1.50 }'
    assert fed(splice(Mode.CONTINUE, "Once"), line) == [line]


def test_what_vendors_add_survives_a_change() -> None:
    line = (
        b'{"id":"new","created":9,"x":1.50,"choices":[{"index":0,"delta":{"content":" \\u0061","v":[1e2]},"w":null}]}'
    )
    assert fed(splice(Mode.CONTINUE, "Once "), line) == [
        b'{"id":"old","created":7,"x":1.50,"choices":[{"index":0,"delta":{"content":"a","v":[1e2]},"w":null}]}'
    ]


def test_a_second_role_is_left_out() -> None:
    lines = [
        chat("", role="assistant"),
        chat(role="assistant"),
        chat(None, role="assistant"),
        chat("a", role="assistant"),
    ]
    for mode in (Mode.FRESH, Mode.CONTINUE):
        assert [msgspec.json.decode(line)["choices"][0]["delta"] for line in fed(splice(mode), *lines)] == [
            {"content": "a"}
        ]


def test_a_role_beside_the_end_or_usage_goes_and_they_stay() -> None:
    usage = raw({"index": 0, "delta": {"role": "assistant"}}, usage={"total_tokens": 1})
    out = fed(splice(Mode.CONTINUE, "a"), chat(role="assistant", finish_reason="stop"), usage)
    assert [msgspec.json.decode(line)["choices"][0]["delta"] for line in out] == [{}, {}]


def test_the_first_role_passes() -> None:
    lines = [chat("", role="assistant"), chat("a")]
    assert fed(Splice(mode=Mode.FRESH), *lines) == lines


def test_each_choice_gets_one_role() -> None:
    both = raw({"index": 0, "delta": {"role": "assistant"}}, {"index": 1, "delta": {"role": "assistant"}})
    out = fed(splice(Mode.FRESH), chat(role="assistant"), chat(role="assistant", index=1), both)
    deltas = [[choice["delta"] for choice in msgspec.json.decode(line)["choices"]] for line in out]
    assert deltas == [[{"role": "assistant"}], [{}, {"role": "assistant"}]]


def test_usage_passes_and_errors_pass_as_they_are() -> None:
    error = b'{ "error" : {"message":"no"}, "id":"new" }'
    usage = raw(usage={"total_tokens": 1})
    for mode in Mode:
        one = splice(mode, "Once")
        assert fed(one, error) == [error]
        (line,) = fed(one, usage)
        assert (msgspec.json.decode(line)["id"], msgspec.json.decode(line)["usage"]) == ("old", {"total_tokens": 1})
        assert not one.is_broken


@pytest.mark.parametrize(
    "line",
    [
        chat(reasoning_content="hm"),
        chat(reasoning="hm"),
        chat(tool_calls=[{"index": 0}]),
        chat("a", tool_calls=[{"index": 0}]),
        chat(function_call={"name": "f"}),
        chat(refusal="no"),
        chat(audio={"id": "a"}),
        chat([{"type": "thinking", "thinking": []}]),
        chat("a", index=1),
        raw({"index": 0, "delta": {"content": "O"}}, {"index": 1, "delta": {"content": "O"}}),
    ],
)
def test_more_than_text_breaks_a_continuation_and_a_replay_that_is_not_joined(line: bytes) -> None:
    for mode in (Mode.CONTINUE, Mode.REPLAY):
        one = splice(mode, "Once")
        assert fed(one, line, chat("Once"), raw(usage={}), b'{"error":"no"}') == []
        assert one.is_broken
        assert one.breach is not None
    later = splice(Mode.CONTINUE, "Once")
    assert text(fed(later, chat(" upon"), line, chat(" a"))) == " upon"
    assert later.is_broken


def test_what_comes_before_the_chunk_that_breaks_it_is_returned() -> None:
    one = splice(Mode.CONTINUE, "Once")
    spliced = one.feed(chunks([chat(" upon"), chat(reasoning="hm"), chat(" a")]))
    assert spliced is not None
    assert text(spliced.lines()) == " upon"
    assert one.is_broken


def test_an_answer_from_its_beginning_may_hold_anything() -> None:
    lines = [chat(reasoning="hm"), chat(tool_calls=[{"index": 0}]), chat("a", index=1), chat(" a")]
    for one in (splice(Mode.FRESH), splice(Mode.CONTINUE, "\n")):
        assert len(fed(one, *lines)) == len(lines)
        assert not one.is_broken


def test_a_replay_may_hold_anything_once_it_is_joined() -> None:
    one = splice(Mode.REPLAY, "Once")
    assert len(fed(one, chat("Once"), chat(refusal="no"), chat(" upon"), chat(finish_reason="stop"))) == 3


def test_a_replay_that_ends_too_early_is_broken() -> None:
    one = splice(Mode.REPLAY, "Once upon")
    assert fed(one, chat("Once"), chat(finish_reason="stop"), chat(" upon")) == []
    assert one.is_broken


def test_a_replay_that_ends_with_the_text_so_far_is_whole() -> None:
    one = splice(Mode.REPLAY, "Once")
    out = fed(one, chat("On"), chat("ce", finish_reason="stop"))
    assert text(out) == ""
    assert msgspec.json.decode(out[0])["choices"][0]["finish_reason"] == "stop"
    assert one.is_joined


def test_a_replay_passes_nothing_on_before_it_is_joined() -> None:
    one = splice(Mode.REPLAY, "Once upon", seam=SEAM)
    waiting = [
        raw(),
        raw(prompt_filter_results=[]),
        chat(""),
        chat("Once"),
        raw({"index": 0, "delta": {"content": " "}}, usage={}),
    ]
    assert fed(one, *waiting) == []
    assert not one.is_joined
    out = fed(one, chat("upon"))
    assert (out, one.is_joined) == ([], True)
    assert b"headrace" not in b"".join(fed(one, chat("")))
    assert msgspec.json.decode(fed(one, chat(" a"))[0])["headrace"] == SEAM


def test_a_continuation_without_any_text_leaves_the_white_space() -> None:
    one = splice(Mode.CONTINUE, "Once\n")
    assert text(fed(one, chat("", role="assistant"), chat("\n"), chat(finish_reason="stop"))) == ""
    assert not one.is_broken
    assert not one.is_joined


def test_the_same_word_twice_is_no_echo() -> None:
    assert text(fed(splice(Mode.CONTINUE, "ha"), chat("ha"), chat("ha"))) == "haha"


def test_an_echo_that_differs_or_stops_breaks_it() -> None:
    for lines in ([chat("On"), chat("se")], [chat("On"), chat(finish_reason="stop")]):
        one = splice(Mode.CONTINUE, "Once", echoes=True)
        assert fed(one, *lines) == []
        assert one.is_broken


def test_content_in_parts_is_cut_like_text() -> None:
    out = fed(splice(Mode.CONTINUE, "Once "), chat([{"type": "text", "text": " up"}, {"type": "text", "text": "on"}]))
    assert msgspec.json.decode(out[0])["choices"][0]["delta"] == {"content": "upon"}


def test_characters_cut_in_half_are_whole_in_the_answer() -> None:
    high, low = (b'{"choices":[{"index":0,"delta":{"content":"%s"}}]}' % half for half in (b"\\ud83d", b"\\ude00"))
    one = splice(Mode.REPLAY, "a\ud83d")
    assert fed(one, chat("a"), high) == []
    out = fed(one, low, chat("b"))
    assembler = CompletionAssembler()
    assembler.add(b"\n".join([chat("a"), high, *out]))
    assert assembler.text == "a\U0001f600b"
    assert text(fed(splice(Mode.REPLAY, "\U0001f600"), high, low, chat("b"))) == "b"


def test_a_text_that_cannot_be_cut_breaks_it() -> None:
    for line in (
        b'{"choices":{"delta":{"content":"Once"}}}',
        b'{"choices":[{"delta":{"content":"\\ud83d"}}],"n":1e999}',
    ):
        one = splice(Mode.REPLAY, "Once")
        assert fed(one, line) == []
        assert one.is_broken
