"""Content of messages: OpenAI's parts as blocks of the Messages API.

====================  ====================================================================================
Part                  Block
====================  ====================================================================================
``text``              ``text``; empty text is left out, since the API refuses it
``refusal``           ``text``: the model said it
``image_url``         ``image``: ``data:`` URLs as base64, ``https`` URLs as such; ``detail`` has no equivalent
``file``              ``document``: PDF in ``file_data`` as base64, or an ``https`` URL there
====================  ====================================================================================

``cache_control``, the API's own field, may stand in a part and is passed on. Sources:
https://platform.openai.com/docs/api-reference/chat/create and the SDK's ``ContentBlockParam``.
"""

from __future__ import annotations

import re
from typing import Any

from headrace.engines.anthropic.refusal import a_text, an_object, shown, unsupported, wrong

_DATA_URL = re.compile(r"data:([a-z0-9.+-]+/[a-z0-9.+-]+);base64,", re.IGNORECASE | re.ASCII)
_IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_PDF = "application/pdf"

Block = dict[str, Any]


def blocks_of(content: Any, param: str) -> list[Block]:
    """Return the blocks of a message's content: text, parts, or null.

    Raises:
        ClientRequestError: A part is wrong or of a kind that the API does not take; ``param`` names it.
    """
    if content is None:
        return []
    if isinstance(content, str):
        return text_blocks(content)
    if not isinstance(content, list):
        raise wrong(param, "must be a string or a list of parts")
    blocks: list[Block] = []
    for index, part in enumerate(content):
        at = f"{param}[{index}]"
        found = _blocks(an_object(part, at), at)
        if "cache_control" in part:
            found = [{**block, "cache_control": part["cache_control"]} for block in found]
        blocks += found
    return blocks


def text_blocks(text: str) -> list[Block]:
    """Return text as blocks: none when it is empty."""
    return [{"type": "text", "text": text}] if text else []


def _blocks(part: dict[str, Any], at: str) -> list[Block]:
    match part.get("type"):
        case "text":
            return text_blocks(a_text(part.get("text"), f"{at}.text"))
        case "refusal":
            return text_blocks(a_text(part.get("refusal"), f"{at}.refusal"))
        case "image_url":
            image = an_object(part.get("image_url"), f"{at}.image_url")
            return [{"type": "image", "source": _image(a_text(image.get("url"), f"{at}.image_url.url"), at)}]
        case "file":
            return [_document(an_object(part.get("file"), f"{at}.file"), at)]
        case kind:
            raise unsupported(
                f"{at}.type", f"{shown(kind)} has no equivalent in this engine; it takes text, images, PDF"
            )


def _image(url: str, at: str) -> dict[str, Any]:
    param = f"{at}.image_url.url"
    if url.startswith("https://"):
        return {"type": "url", "url": url}
    media_type, data = _data_of(url, param)
    media_type = "image/jpeg" if media_type == "image/jpg" else media_type
    if media_type not in _IMAGE_TYPES:
        raise unsupported(
            param, f"{shown(media_type)} is no type of image that this engine takes: jpeg, png, gif, webp"
        )
    return {"type": "base64", "media_type": media_type, "data": data}


def _document(file: dict[str, Any], at: str) -> Block:
    param = f"{at}.file.file_data"
    if file.get("file_data") is None:
        raise unsupported(f"{at}.file", "this engine takes a file's content in file_data, not its id")
    url = a_text(file["file_data"], param)
    if url.startswith("https://"):
        source = {"type": "url", "url": url}
    else:
        media_type, data = _data_of(url, param)
        if media_type != _PDF:
            raise unsupported(param, f"{shown(media_type)} is no type of file that this engine takes: {_PDF}")
        source = {"type": "base64", "media_type": _PDF, "data": data}
    title = file.get("filename")
    named = {} if title is None else {"title": a_text(title, f"{at}.file.filename")}
    return {"type": "document", "source": source, **named}


def _data_of(url: str, param: str) -> tuple[str, str]:
    """Return media type and base64 text of a ``data:`` URL (RFC 2397)."""
    found = _DATA_URL.match(url)
    if found is None:
        raise wrong(param, "must be an https: URL, or data: with a type and ;base64,")
    return found[1].lower(), url[found.end() :]
