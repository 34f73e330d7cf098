"""Where a server is."""

from __future__ import annotations

from urllib.parse import urlsplit

DEFAULT_URL = "http://127.0.0.1:8080"
"""Where ``headrace serve`` listens."""


class Address:
    """The base of a server's URLs.

    Args:
        base_url: With or without ``/v1``; a path before it stays (``https://host/llm/v1``).

    Raises:
        ValueError: It is no http or https URL, or has a query or fragment.
    """

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("base_url must look like http://host:port")
        if parts.query or parts.fragment:
            raise ValueError("base_url must have no query and no fragment")
        path = parts.path.rstrip("/").removesuffix("/v1")
        self._root = f"{parts.scheme}://{parts.netloc}{path}"
        self._shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}"

    def url(self, path: str) -> str:
        """Return the whole URL of a path below ``/v1``, which begins with a slash."""
        return f"{self._root}/v1{path}"

    def __str__(self) -> str:
        """Fit for messages: without a name and password."""
        return self._shown
