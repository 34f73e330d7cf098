from __future__ import annotations

import pytest

from headrace.settings.hidden import HIDDEN, without_secrets


@pytest.mark.parametrize("key", ["key", "api_key", "client_secret", "token", "db_password"])
def test_values_of_keys_that_name_a_secret_are_hidden(key: str) -> None:
    assert without_secrets(key, "abc") == HIDDEN
    assert without_secrets(key, ("a", "b")) == (HIDDEN, HIDDEN)


@pytest.mark.parametrize("key", ["tls_key", "upstream_keys", "upstream_key_env", "tokens_per_minute"])
def test_where_a_secret_is_may_be_shown(key: str) -> None:
    assert without_secrets(key, "abc") == "abc"
    assert without_secrets(key, 5) == 5
