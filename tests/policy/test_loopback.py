from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.policy.loopback import is_loopback


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "app.localhost", "127.0.0.1", "127.255.255.254", "::1"])
def test_names_and_addresses_of_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        ".localhost",
        "localhost.example.com",
        "127.0.0.1.example.com",
        "example.com",
        "0.0.0.0",
        "::",
        "::ffff:127.0.0.1",
        "::1%lo",
        "127.1",
        "2130706433",
        "192.168.0.1",
        "notlocalhost",
    ],
)
def test_everything_else_is_elsewhere(host: str) -> None:
    assert not is_loopback(host)


@given(st.ip_addresses(v=4))
def test_only_127_of_all_ipv4(address: ipaddress.IPv4Address) -> None:
    assert is_loopback(str(address)) == (address.packed[0] == 127)


@given(st.text())
def test_any_text_is_answered(text: str) -> None:
    assert is_loopback(text) in {True, False}
