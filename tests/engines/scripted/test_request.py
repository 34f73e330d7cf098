from __future__ import annotations

import pytest

from headrace.engines.scripted.request import read_script
from headrace.engines.scripted.script import Script
from headrace.errors import ClientRequestError
from headrace.types.engine import Continuation


def test_a_script_is_read_with_more_laid_over_it() -> None:
    found = read_script('{"continues": "prefix", "tokens": 3}', {"tokens": 5})
    assert found == Script(continues=Continuation.PREFIX, tokens=5)


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ("", None),
        ("[]", None),
        ("{", None),
        ("\ud800", None),
        ('{"a":' + "[" * 100_000, None),
        ('{"itl_ms": "x"}', "itl_ms"),
        ('{"fault": {"kind": "rst", "at": -1}}', "fault.at"),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_a_wrong_script_says_what_is_wrong(data: str, param: str | None) -> None:
    with pytest.raises(ClientRequestError) as caught:
        read_script(data, {})
    assert caught.value.param == param
