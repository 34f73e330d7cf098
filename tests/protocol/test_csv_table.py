"""CSV that spreadsheets may open: what was written comes back, and nothing is run as a formula."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.protocol.csv_table import FORMULA_STARTS, csv_table, safe_cell

# Names as hostile as they come: every special character often.
TEXT = st.one_of(
    st.text(max_size=20),
    st.text(alphabet=st.sampled_from([*FORMULA_STARTS, *"',\";\n aé\x00\u2028"]), max_size=8),
)


def parsed(table: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(table.decode(), newline=""), strict=True))


@given(
    st.integers(1, 5).flatmap(
        lambda width: st.lists(
            st.lists(st.one_of(TEXT, st.integers()), min_size=width, max_size=width), min_size=1, max_size=5
        )
    )
)
def test_a_reader_gets_the_cells_back(rows: list[list[str | int]]) -> None:
    headings = [f"column {number}" for number in range(len(rows[0]))]
    back = parsed(csv_table(headings, rows))
    assert back == [headings, *[[safe_cell(cell) for cell in row] for row in rows]]


@given(TEXT)
def test_no_cell_of_text_begins_as_a_formula(text: str) -> None:
    [[cell, _]] = parsed(csv_table([text, ""], []))
    assert not cell.startswith(FORMULA_STARTS)
    assert cell in {text, f"'{text}"}
    assert (cell == text) is not text.startswith(FORMULA_STARTS)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_what_a_spreadsheet_would_run_gets_an_apostrophe(text: str) -> None:
    assert safe_cell(text) == f"'{text}"


def test_numbers_stay_numbers() -> None:
    assert csv_table(["a", "b"], [[-5, "0.5"]]) == b"a,b\r\n-5,0.5\r\n"


def test_lines_end_as_the_format_says_and_quotes_are_doubled() -> None:
    assert csv_table(["name"], [['say "a, b"\nnow']]) == b'name\r\n"say ""a, b""\nnow"\r\n'
