from __future__ import annotations

import pytest

from headrace.client.address import Address


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1/models"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/v1/models"),
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1/models"),
        ("http://127.0.0.1:8080/v1/", "http://127.0.0.1:8080/v1/models"),
        ("https://example.org/llm/v1", "https://example.org/llm/v1/models"),
        ("https://example.org/v1beta", "https://example.org/v1beta/v1/models"),
        ("http://[::1]:8080", "http://[::1]:8080/v1/models"),
    ],
)
def test_v1_is_there_once(base_url: str, url: str) -> None:
    assert Address(base_url).url("/models") == url


@pytest.mark.parametrize(
    "base_url", ["", "127.0.0.1:8080", "ftp://host", "http://", "http://host?a=b", "http://host#x"]
)
def test_what_is_no_base_is_refused(base_url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        Address(base_url)


def test_name_and_password_are_used_and_not_shown() -> None:
    address = Address("http://user:secret@host:1/v1")
    assert address.url("/models") == "http://user:secret@host:1/v1/models"
    assert str(address) == "http://host:1"
