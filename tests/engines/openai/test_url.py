import pytest

from headrace.engines.openai.url import BaseURL
from headrace.errors import SettingsError


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://127.0.0.1:9100/v1", BaseURL("127.0.0.1", 9100, False, "127.0.0.1:9100", "/v1")),
        ("http://localhost", BaseURL("localhost", 80, False, "localhost", "")),
        ("http://localhost:80/", BaseURL("localhost", 80, False, "localhost", "")),
        ("https://api.example.com/a/b/v1/", BaseURL("api.example.com", 443, True, "api.example.com", "/a/b/v1")),
        ("https://api.example.com:8443/v1", BaseURL("api.example.com", 8443, True, "api.example.com:8443", "/v1")),
        ("http://[::1]:9100/v1", BaseURL("::1", 9100, False, "[::1]:9100", "/v1")),
        ("http://bücher.example/v1", BaseURL("xn--bcher-kva.example", 80, False, "xn--bcher-kva.example", "/v1")),
    ],
)
def test_parse_keeps_the_path_and_knows_default_ports(url: str, parts: BaseURL) -> None:
    assert BaseURL.parse(url) == parts


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:9100",
        "ftp://host/v1",
        "http://",
        "http://:80/v1",
        "http://host:port/v1",
        "http://host:99999/v1",
        "http://host:0/v1",
        "http://[::1/v1",
        "http://host/v1?key=hunter2",
        "http://host/v1#hunter2",
        "http://user:hunter2@host/v1",
        "http://hunter2@host/v1",
        "http://host/v 1",
        "http://host/v1/ü",
        "http://ho st/v1",
        "http://" + "ü" * 70 + "/v1",
    ],
)
def test_a_bad_url_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^base_url: ") as caught:
        BaseURL.parse(url)
    assert "hunter2" not in str(caught.value)
