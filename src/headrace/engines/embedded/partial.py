"""The beginning of an answer, and how to go on behind it.

llama.cpp goes on with a last message of the role ``assistant``, to the character: its text stands in the prompt as it
is, white space included, and is not repeated in the answer (asked for by ``echo``). Two things are left to us.

- *An empty one* is no beginning: llama.cpp would cut the template's own heading off, and the model would write that.
- *The end.* A model sees tokens. Text that ends inside one of them, or with a space that belongs to the next, is text
  it has hardly ever seen, and it goes on with something odd: after "the quic" comes " brown". So the last word, or the
  white space at the end, is taken back, and a grammar makes the model write it again, in tokens of its own choice; its
  reader, who has it, does not get it twice. Where the text did end with a token, that token comes again.

The model's tokens hold a space and letters, or a space and signs, or white space, or one digit (GPT-2's rule, and digits
one by one): so much is taken back, and nothing behind a digit. What a grammar has no place for (a schema, several
choices, log probabilities, which would tell of the word) goes on from the text as it is.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

MAX_AGAIN = 32
"""Characters that are written again at most. What is longer is no word: a line of Chinese, say, or of base64."""

_LAST = re.compile(r"(?:\s+|\s*[^\W\d_]+|\s*[^\w\s]+|\s*_+)\Z")
_ESCAPES = str.maketrans({'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Partial(NamedTuple):
    """The beginning of an answer."""

    kept: str
    """What the model goes on from. Where something is written again, it does not end with white space."""
    again: str
    """What it writes again, maybe nothing."""


def partial_answer(messages: list[dict[str, Any]]) -> str | None:
    """Return the text of the answer that the messages end with; None when there is none, or none that can go on.

    Two in a row, and one with tool calls, are left to llama.cpp, which refuses them.
    """
    last = messages[-1]
    follows_another = len(messages) > 1 and messages[-2].get("role") == "assistant"
    if last.get("role") != "assistant" or "content" not in last or last.get("tool_calls") or follows_another:
        return None
    content = last["content"]
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict):
        content = content[0].get("text") if content[0].get("type") == "text" else content
    if not content:
        return ""
    return content if isinstance(content, str) else None


def split_end(text: str, *, stops: list[str]) -> Partial:
    """Take the last word back, or the white space at the end, unless it cannot be written again.

    Args:
        text: The beginning of an answer.
        stops: Texts that end an answer, and would when they are written again.
    """
    # Only the end is looked at: searching a long text for its end would take long.
    last = _LAST.search(text[-MAX_AGAIN - 1 :])
    again = last.group() if last is not None else ""
    if len(again) > MAX_AGAIN or _CONTROL.search(again) or any(stop in again for stop in stops if stop):
        again = ""
    return Partial(text[: len(text) - len(again)], again)


def beginning_with(text: str) -> str:
    """Return the grammar (GBNF, https://github.com/ggml-org/llama.cpp/tree/master/grammars) of all that begins so."""
    return f'root ::= "{text.translate(_ESCAPES)}" .*'
