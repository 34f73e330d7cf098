"""The answer is the same for all, comes when it is due, and what is seen of it is judged as it should be."""

from __future__ import annotations

import re
from itertools import accumulate
from pathlib import Path
from urllib.request import urlopen

import msgspec
import pytest
from bench.answer import CODE, LEAST_TOKENS, answer, tokens_of
from bench.flashes import MARK, OPENER, FinishedPage, flashes_in, unfolded
from bench.markdown import COLUMNS, FLOOR, OURS, PEERS, RENDERERS, Rounds, Setting, Showing, rows, share
from bench.page_server import ANSWER, PAGE, paced, page_server, versions

FINISHED = """\
The river
Some bold and read(*args) words
Ada\tLovelace\t36
x = a * b"""


@pytest.mark.parametrize("tokens", [LEAST_TOKENS, LEAST_TOKENS + 1, 777, 5000])
def test_answer_has_as_many_tokens_as_asked_and_is_the_same_again(tokens: int) -> None:
    text = answer(tokens)
    assert len(tokens_of(text)) == tokens
    assert "".join(tokens_of(text)) == text == answer(tokens)


def test_answer_too_short_to_write_is_refused() -> None:
    with pytest.raises(ValueError, match="ask for 100 or more"):
        answer(LEAST_TOKENS - 1)


@pytest.mark.parametrize(
    "pattern",
    [
        r"^# ",
        r"^## ",
        r"^### ",
        r"\*\*\w",
        r"(?<!\*)\*\w",
        r"~~\w",
        r"\]\(https://",
        r"<https://",
        r" https://",
        r"^- \w|^- \*",
        r"^  - ",
        r"^1\. ",
        r"^   - ",
        r"^- \[ \] ",
        r"^- \[x\] ",
        r"^\|:---",
        r"^> ",
        r"^\$\$$",
        r" \$[^$]+\$ ",
        r"\[\^1\]$",
        r"^\[\^1\]: ",
        r"^---$",
        "\N{ZERO WIDTH JOINER}",
        *(f"^```{language}$" for language, _ in CODE),
    ],
)
def test_answer_has_markdown_of_each_kind(pattern: str) -> None:
    assert re.search(pattern, answer(5000), re.MULTILINE)


def test_answer_leaves_no_block_open() -> None:
    text = answer(5000)
    assert text.count("\n```") % 2 == 0
    assert text.count("\n$$") % 2 == 0
    assert not MARK.search(text.rpartition("\n")[2])


def test_no_line_of_code_looks_like_markup_at_its_beginning() -> None:
    lines = [line for _, code in CODE for line in code.split("\n")]
    assert [line for line in lines if OPENER.match(line) or line.startswith("#")] == []


class SimulatedClock:
    """Time that passes when somebody sleeps, and a little late."""

    def __init__(self, *, late_s: float) -> None:
        self.now_s = 100.0
        self._late_s = late_s

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds + self._late_s


@pytest.mark.parametrize("late_s", [0.0001, 0.003, 0.04])
def test_tokens_come_at_their_pace_however_late_sleep_returns(late_s: float) -> None:
    clock, tokens = SimulatedClock(late_s=late_s), tokens_of(answer(1000))
    arrivals = []
    for due in paced(tokens, per_s=200, clock=clock, sleep=clock.sleep):
        arrivals += [(token, clock.now_s - 100) for token in due]
    assert [token for token, _ in arrivals] == tokens
    # Never early, and late by no more than one sleep: lateness does not add up.
    assert all(-1e-6 <= at_s - number / 200 <= late_s + 1e-6 for number, (_, at_s) in enumerate(arrivals))


def test_page_and_answer_are_served(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("the page")
    tokens = [*tokens_of(answer(1000)), "\N{WATER WAVE}"]
    with page_server(tmp_path, tokens) as origin:
        assert urlopen(origin).read() == b"the page"
        with urlopen(f"{origin}{ANSWER}?per_s=100000") as response:
            assert response.headers["Content-Type"] == "application/x-ndjson"
            lines = response.read().splitlines()
    assert [msgspec.json.decode(line) for line in lines] == [{"text": token} for token in tokens]


@pytest.mark.parametrize(
    "line",
    [
        "The river",
        "The riv",
        "",
        "Some bold and read(*ar",
        "Ada\tLove\t",
        "Ada\t",
        "The rivers",
        "x = ab",
    ],
)
def test_what_will_stay_or_is_no_markup_is_clean(line: str) -> None:
    assert FinishedPage(FINISHED).mark_in(line) is None


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("## The riv", ("", "#")),
        ("Some **bo", ("Some ", "*")),
        ("Some bold and `read", ("Some bold and ", "`")),
        ("Some [bold](https://exam", ("Some ", "[")),
        ("| Ada | Love", ("", "|")),
        ("```", ("", "`")),
        ("- ", ("", "-")),
        ("1.", ("", "1.")),
        ("> The", ("", ">")),
        ("---", ("", "---")),
        (r"\frac{1", ("", "\\")),
        ("x = a * b_1", ("x = a * b", "_")),
        ("x = a * c * d", ("x = a * ", "*")),
    ],
)
def test_markup_that_will_go_is_found_where_it_stands(line: str, place: tuple[str, str]) -> None:
    assert FinishedPage(FINISHED).mark_in(line) == place


def test_end_that_is_shown_before_its_time_is_no_flash() -> None:
    page = FinishedPage("$$ a = \\frac{b}{c} $$")
    assert page.mark_in("$$ a = \\frac{b $$") is None
    assert page.mark_in("$$ a = \\frac{b ` $$") == ("$$ a = \\frac{b", "`")
    assert page.mark_in("* $$") == ("", "*")


def test_what_the_finished_page_shows_elsewhere_is_no_flash() -> None:
    page = FinishedPage("By Q=Av\nthe max_level_mm is low ** 2")
    assert page.mark_in("By Q = A v the max_level_mm") is None
    assert page.mark_in("By $Q = A v$ the max_level_mm") == ("By ", "$")
    assert page.mark_in("By Q = A v the *max_level_mm is") == ("By Q", "*")
    assert page.mark_in("**") == ("", "*")


def test_page_that_shows_nothing_in_the_end_has_only_flashes() -> None:
    assert FinishedPage("").mark_in("* a") == ("", "*")


def test_a_flash_is_counted_once_while_it_lasts_and_again_when_it_comes_back() -> None:
    frames = [
        "The river\nSome",
        "The river\nSome *",
        "The river\nSome **bol",
        "The river\nSome bold",
        "The river\nSome *",
        "The river\nSome bold and `re",
        FINISHED,
    ]
    seen = flashes_in(frames)
    assert (seen.frames, seen.marked, seen.flashes) == (7, 4, 3)
    assert seen.examples == ["Some *", "Some *", "Some bold and `re"]


def test_frames_of_text_as_it_is_flash_only_when_it_does_not_stay_so() -> None:
    raw = [*accumulate(tokens_of(answer(300)))]
    assert flashes_in(raw).flashes == 0
    finished = re.sub(r"[*_~`#\[\]|$<\\]", "", raw[-1])
    assert flashes_in([*raw, finished]).flashes > 3


def test_no_frames_have_no_flashes() -> None:
    assert flashes_in([]).flashes == 0


def test_frames_are_put_together_again_in_code_units_of_javascript() -> None:
    told = [(0, "a"), (1, " \N{WATER WAVE}."), (4, " b"), (2, "\N{SURFER}"), (0, ""), (0, "b")]
    expected = ["a", "a \N{WATER WAVE}.", "a \N{WATER WAVE} b", "a \N{SURFER}", "", "b"]
    assert unfolded(told) == expected


def _showing(script_s: float, *long_tasks_ms: float) -> Showing:
    return Showing(
        script_s=script_s,
        layout_s=0.1,
        style_s=0.1,
        task_s=script_s + 0.5,
        long_tasks_ms=[*long_tasks_ms],
        deliveries=120,
        behind_ms=16.4,
        total_ms=2600,
        loaded_bytes=33_400,
    )


def _rounds(ours: list[float], first: list[float], second: list[float]) -> Rounds:
    times = {FLOOR: [0.01], OURS: ours, PEERS[0]: first, PEERS[1]: second}
    return {name: [_showing(script_s) for script_s in of_name] for name, of_name in times.items()}


def test_share_is_of_the_peer_that_needs_less_in_the_same_round() -> None:
    assert share(_rounds([0.2], [2.0], [1.0])) == pytest.approx(0.2)
    assert share(_rounds([0.2, 0.2, 0.9], [2.0, 1.0, 1.0], [1.0, 4.0, 3.0])) == pytest.approx(0.2)


def test_table_has_a_row_for_each_renderer() -> None:
    rounds = dict(_rounds([0.1, 0.3], [2.0, 4.0], [1.0, 1.0]))
    rounds[OURS] = [_showing(0.1, 60.0), _showing(0.3, 51.0, 70.2, 55.0)]
    flashes = {name: flashes_in(["*", ""]) for name in (OURS, *PEERS)}
    table = {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in rows(rounds, flashes)}
    assert [*table] == [*RENDERERS]
    assert table[OURS] == {
        "": OURS,
        "scripting s": "0.20",
        "least - most": "0.10 - 0.30",
        "x ours": "1.0",
        "frames": "120",
        "ms a frame": "1.7",
        "main thread s": "0.70",
        "long tasks": "2",
        "longest ms": "70",
        "behind ms": "16",
        "flashes": "1",
        "flashing frames": "1 of 2",
        "JS KB": "33",
    }
    assert table[PEERS[0]]["x ours"] == "15.0"
    assert table[FLOOR]["flashes"] == table[FLOOR]["flashing frames"] == "-"


def test_settings_say_what_they_are() -> None:
    assert str(Setting(2000, 1)) == "5,000 tokens at 2,000 a second"
    assert str(Setting(200, 4)) == "5,000 tokens at 200 a second, 4 x CPU throttle"


def test_peers_are_locked_to_versions_and_to_no_registry() -> None:
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions(PEERS).values())
    lock = msgspec.json.decode((PAGE / "package-lock.json").read_bytes())
    assert [name for name, package in lock["packages"].items() if "resolved" in package] == []
