"""The client: streams of text that go on over dropped connections. See ``docs/client.md``."""

from headrace.client.async_client import AsyncClient
from headrace.client.async_stream import AsyncStream
from headrace.client.client import Client
from headrace.client.entry import Entry
from headrace.client.page import Page
from headrace.client.patience import Patience
from headrace.client.result import Result
from headrace.client.stream import Stream
from headrace.protocol.usage import Usage

__all__ = ["AsyncClient", "AsyncStream", "Client", "Entry", "Page", "Patience", "Result", "Stream", "Usage"]
