from __future__ import annotations

import pytest

from headrace.errors import SettingsError
from headrace.settings import Settings, load_settings
from headrace.settings.checks import check_exposure


def listening_on(host: str, *, insecure: bool = False) -> Settings:
    server = {"host": host, "insecure": insecure}
    return load_settings(environ={}, overrides={"server": server, "store": {"url": "memory:"}})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "relay.example"])
def test_others_need_keys_or_the_will_to_do_without(host: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check_exposure(listening_on(host), has_keys=False)
    assert str(caught.value).startswith(
        f"server.host: {host} is not loopback, and nobody would have to show a key there"
    )
    assert "headrace keys create --owner NAME --store URL" in str(caught.value)
    check_exposure(listening_on(host), has_keys=True)
    check_exposure(listening_on(host, insecure=True), has_keys=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_this_machine_needs_no_keys(host: str) -> None:
    check_exposure(listening_on(host), has_keys=False)
