from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headrace.engines.embedded.completion import DEFAULT_TOKENS, native_completion
from headrace.errors import ClientRequestError
from headrace.types.engine import Endpoint


def _native(**fields: Any) -> dict[str, Any]:
    body = msgspec.json.encode({"prompt": "The sky is", **fields})
    request = native_completion(body, slots=4, context_tokens=2048)
    assert request.endpoint is Endpoint.COMPLETIONS
    native: dict[str, Any] = msgspec.json.decode(request.body)
    return native


def test_a_prompt_passes_with_how_to_draw_and_nothing_else() -> None:
    native = _native(temperature=0, stop="x", seed=3, grammar="y", id_slot=1)
    assert native["prompt"] == "The sky is"
    assert {key: native[key] for key in ("temperature", "stop", "seed")} == {"temperature": 0, "stop": "x", "seed": 3}
    assert not {"grammar", "id_slot"} & set(native)


def test_a_list_of_one_prompt_is_that_prompt() -> None:
    assert _native(prompt=["The sky is"])["prompt"] == "The sky is"


def test_an_answer_has_the_length_that_openai_gives_by_default() -> None:
    assert _native()["max_tokens"] == DEFAULT_TOKENS
    assert _native(max_tokens=5)["max_tokens"] == 5


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": [1, 2, 3]}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"n": 2}, "n"),
        ({"best_of": 2}, "best_of"),
        ({"echo": True}, "echo"),
        ({"suffix": "end"}, "suffix"),
        ({"logprobs": 2}, "logprobs"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"prompt": "x" * 200_000}, "prompt"),
    ],
)
def test_what_llama_cpp_would_drop_or_count_wrongly_is_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ClientRequestError) as caught:
        _native(**fields)
    assert (caught.value.status, caught.value.param) == (400, param)
