"""The page as it is served: its headers, what is kept by clients and what is asked about, and each coding."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import brotli
import httpx2
import pytest
import uvicorn
import zstandard
from tests.node import InProcess, Reply, node_in_process
from uvicorn.server import ServerState

from headrace.http.app import App
from headrace.http.assets import COMPRESSIONS, IMMUTABLE, REVALIDATED, Asset, Assets
from headrace.http.banner import banner
from headrace.http.compression import CODECS
from headrace.http.guard import Guard, GuardedApp
from headrace.http.negotiation import negotiating_protocol
from headrace.http.protocol import Connections

INDEX = b"<!doctype html><title>page</title>" + b"<p>a word</p>" * 100
SCRIPT = b"export const word = 'word';\n" * 200
FONT = b"wOF2" + bytes(4000)

SCRIPT_PATH = "/assets/main-x1Y2z3_4.js"
FONT_PATH = "/assets/text-AbCdEfGh.woff2"

DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "br": brotli.decompress,
    "gzip": gzip.decompress,
    "zstd": zstandard.ZstdDecompressor().decompress,
}

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A built page."""
    page = tmp_path / "page"
    (page / "assets" / "more").mkdir(parents=True)
    (page / "index.html").write_bytes(INDEX)
    (page / "favicon.svg").write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    (page / "secret.txt").write_bytes(b"not linked")
    (page / "assets" / "more" / "deep-AbCdEfGh.js").write_bytes(b"deep")
    files = {
        SCRIPT_PATH: SCRIPT,
        FONT_PATH: FONT,
        "/assets/small-AbCdEfGh.css": b"a{}",
        "/assets/odd-AbCdEfGh.odd": b"?",
    }
    for path, data in files.items():
        (page / path[1:]).write_bytes(data)
    return page


@asynccontextmanager
async def page_of(folder: Path) -> AsyncIterator[InProcess]:
    async with node_in_process() as relay:
        yield InProcess(dataclasses.replace(relay.node, assets=Assets.read(folder)))


async def ask(relay: InProcess, path: str, method: str = "GET", **headers: str) -> Reply:
    return await relay.call(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})


PATHS = ["/", "/favicon.svg", SCRIPT_PATH, FONT_PATH]


@pytest.mark.parametrize("path", PATHS)
async def test_every_file_keeps_foreign_content_out(folder: Path, path: str) -> None:
    async with page_of(folder) as relay:
        reply = await ask(relay, path)
    assert reply.status == 200
    assert reply.headers["content-security-policy"] == POLICY
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert reply.headers["cross-origin-opener-policy"] == "same-origin"
    assert reply.headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=()" in reply.headers["permissions-policy"]


@pytest.mark.parametrize(
    ("path", "data", "content_type", "cache_control"),
    [
        ("/", INDEX, "text/html; charset=utf-8", "no-cache"),
        ("/?from=somewhere", INDEX, "text/html; charset=utf-8", "no-cache"),
        ("/favicon.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml", "no-cache"),
        (SCRIPT_PATH, SCRIPT, "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"),
        (FONT_PATH, FONT, "font/woff2", "public, max-age=31536000, immutable"),
        ("/assets/odd-AbCdEfGh.odd", b"?", "application/octet-stream", "public, max-age=31536000, immutable"),
    ],
)
async def test_a_file_comes_as_it_was_built(
    folder: Path, path: str, data: bytes, content_type: str, cache_control: str
) -> None:
    async with page_of(folder) as relay:
        reply = await ask(relay, path)
    assert (reply.status, reply.body) == (200, data)
    assert reply.headers["content-type"] == content_type
    assert reply.headers["content-length"] == str(len(data))
    assert reply.headers["cache-control"] == cache_control
    assert "content-encoding" not in reply.headers


async def test_files_are_read_once(folder: Path) -> None:
    async with page_of(folder) as relay:
        shutil.rmtree(folder)
        assert (await ask(relay, "/")).body == INDEX
        assert (await ask(relay, SCRIPT_PATH)).body == SCRIPT


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("form", ["{0}", "W/{0}", '"other", {0}', ' {0},"other"', "*"])
async def test_a_client_that_has_a_file_gets_no_body(folder: Path, path: str, form: str) -> None:
    async with page_of(folder) as relay:
        first = await ask(relay, path)
        again = await ask(relay, path, if_none_match=form.format(first.headers["etag"]))
    assert (again.status, again.body) == (304, b"")
    # RFC 9110 15.4.5: what caches go on with; and nothing about a body that is not there.
    kept = {"cache-control", "content-security-policy", "etag", "vary"} & first.headers.keys()
    assert {name: again.headers[name] for name in kept} == {name: first.headers[name] for name in kept}
    assert not {"content-type", "content-length", "content-encoding"} & again.headers.keys()


@pytest.mark.parametrize("known", ["", '""', '"other"', "W/", "{bare}", "W/W/{tag}", '"*"'])
async def test_a_client_that_has_something_else_gets_the_file(folder: Path, known: str) -> None:
    async with page_of(folder) as relay:
        tag = (await ask(relay, "/")).headers["etag"]
        reply = await ask(relay, "/", if_none_match=known.format(tag=tag, bare=tag.strip('"')))
    assert (reply.status, reply.body) == (200, INDEX)


async def test_a_tag_changes_with_the_file(folder: Path) -> None:
    async with page_of(folder) as relay:
        before = (await ask(relay, "/")).headers["etag"]
    (folder / "index.html").write_bytes(INDEX + b".")
    async with page_of(folder) as relay:
        reply = await ask(relay, "/", if_none_match=before)
    assert reply.status == 200
    assert reply.headers["etag"] != before


def test_every_coding_of_streams_is_one_of_files() -> None:
    assert COMPRESSIONS.keys() == CODECS.keys() == {coding.encode() for coding in DECODERS}


@pytest.mark.parametrize("coding", DECODERS)
async def test_a_file_is_compressed_as_the_client_asks(folder: Path, coding: str) -> None:
    async with page_of(folder) as relay:
        plain = await ask(relay, SCRIPT_PATH)
        reply = await ask(relay, SCRIPT_PATH, accept_encoding=coding)
        known = await ask(relay, SCRIPT_PATH, accept_encoding=coding, if_none_match=plain.headers["etag"])
        same = await ask(relay, SCRIPT_PATH, accept_encoding=coding, if_none_match=reply.headers["etag"])
    assert reply.headers["content-encoding"] == coding
    assert DECODERS[coding](reply.body) == SCRIPT
    assert int(reply.headers["content-length"]) == len(reply.body) < len(SCRIPT) / 10
    assert plain.headers["vary"] == reply.headers["vary"] == "Accept-Encoding"
    # The tag of one coding says nothing of another: these are other bytes.
    assert (known.status, same.status) == (200, 304)


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=0.5, br", "br"),
        ("deflate", None),
        ("gzip;q=0", None),
        ("*", None),
        ("", None),
    ],
)
async def test_the_coding_is_chosen_as_for_streams(folder: Path, accepted: str, coding: str | None) -> None:
    async with page_of(folder) as relay:
        reply = await ask(relay, "/", accept_encoding=accepted)
    assert reply.headers.get("content-encoding") == coding


@pytest.mark.parametrize("path", [FONT_PATH, "/favicon.svg", "/assets/small-AbCdEfGh.css", "/assets/odd-AbCdEfGh.odd"])
async def test_what_compressing_does_not_help_is_the_same_for_all(folder: Path, path: str) -> None:
    async with page_of(folder) as relay:
        reply = await ask(relay, path, accept_encoding="gzip, br, zstd")
        plain = await ask(relay, path)
    assert (reply.body, reply.headers["etag"]) == (plain.body, plain.headers["etag"])
    assert not {"content-encoding", "vary"} & reply.headers.keys()


async def test_a_file_is_compressed_once_a_coding_and_off_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []

    def counted(data: bytes) -> bytes:
        threads.append(threading.get_ident())
        return b"gzipped " + data[:5]

    monkeypatch.setattr("headrace.http.assets.COMPRESSIONS", {**COMPRESSIONS, b"gzip": counted})
    asset = Asset(SCRIPT, suffix=".js", cache_control=IMMUTABLE)
    bodies = await asyncio.gather(*(asset.body(b"gzip") for _ in range(5)))
    assert bodies == [b"gzipped " + SCRIPT[:5]] * 5
    assert await asset.body(None) == SCRIPT
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


async def test_a_compression_that_was_cancelled_is_done_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    began, go = threading.Event(), threading.Event()

    def slow(data: bytes) -> bytes:
        began.set()
        go.wait(5)
        return data[:5]

    monkeypatch.setattr("headrace.http.assets.COMPRESSIONS", {b"gzip": slow})
    asset = Asset(SCRIPT, suffix=".js", cache_control=REVALIDATED)
    first = asyncio.ensure_future(asset.body(b"gzip"))
    await asyncio.to_thread(began.wait, 5)
    first.cancel()
    go.set()
    assert await asset.body(b"gzip") == SCRIPT[:5]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("accepted", ["", "gzip"])
async def test_head_answers_as_get_without_the_body(folder: Path, path: str, accepted: str) -> None:
    async with page_of(folder) as relay:
        got = await ask(relay, path, accept_encoding=accepted)
        asked = await ask(relay, path, "HEAD", accept_encoding=accepted)
        known = await ask(relay, path, "HEAD", accept_encoding=accepted, if_none_match=got.headers["etag"])
    del got.headers["x-request-id"], asked.headers["x-request-id"]
    assert (asked.status, asked.headers, asked.body) == (200, got.headers, b"")
    assert known.status == 304


async def test_head_starts_no_stream() -> None:
    async with node_in_process() as relay:
        reply = await ask(relay, "/v1/completions/stream?prompt=hi", "HEAD")
        assert reply.status == 405
        assert (await relay.call("GET", "/v1/streams")).json["data"] == []


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/assets/none-AbCdEfGh.js", "file_not_found"),
        ("/assets/..", "file_not_found"),
        ("/assets/index.html", "file_not_found"),
        ("/assets/more", "file_not_found"),
        ("/assets/../index.html", "endpoint_not_found"),
        ("/assets/../secret.txt", "endpoint_not_found"),
        ("/assets/more/deep-AbCdEfGh.js", "endpoint_not_found"),
        ("/assets/", "endpoint_not_found"),
        ("/secret.txt", "endpoint_not_found"),
        ("/index.html", "endpoint_not_found"),
        ("//", "endpoint_not_found"),
    ],
)
async def test_nothing_else_is_served(folder: Path, path: str, code: str) -> None:
    async with page_of(folder) as relay:
        reply = await ask(relay, path)
    assert (reply.status, reply.json["error"]["code"]) == (404, code)
    assert reply.json["error"]["type"] == "invalid_request_error"


async def test_the_page_is_only_read(folder: Path) -> None:
    async with page_of(folder) as relay:
        for path in ("/", SCRIPT_PATH):
            reply = await relay.call("POST", path, {})
            assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("is_empty", [True, False])
async def test_without_a_page_the_relay_says_so_and_works(tmp_path: Path, is_empty: bool) -> None:
    async with page_of(tmp_path if is_empty else tmp_path / "nowhere") as relay:
        reply = await ask(relay, "/")
        assert (reply.status, reply.json["error"]["code"]) == (404, "page_missing")
        assert "installation" in reply.json["error"]["message"]
        assert (await relay.chat(simulate={"tokens": 1})).status == 200


@asynccontextmanager
async def listening(relay: InProcess) -> AsyncIterator[str]:
    """Serve a guarded node on a real socket, HTTP/1.1 and HTTP/2; yields its origin."""
    loop = asyncio.get_running_loop()
    app = GuardedApp(App(relay.node), Guard(), on_refused=relay.node.metrics.rejected)
    connections = Connections(max_connections=9, max_head_bytes=4000, head_timeout_s=60, on_refused=lambda _: None)
    protocol, state = negotiating_protocol(connections, head_timeout_s=60), ServerState()
    config = uvicorn.Config(app, http=protocol, ws="none", lifespan="off", log_config=None)
    server = await loop.create_server(lambda: protocol(config, state, {}, loop), "127.0.0.1", 0)
    try:
        async with asyncio.timeout(20):
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for connection in tuple(state.connections):
            connection.transport.abort()
        await asyncio.gather(*state.tasks, return_exceptions=True)
        await server.wait_closed()


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
async def test_the_page_goes_over_the_wire(folder: Path, version: str) -> None:
    script = b"".join(b"export const w%d = 'word';\n" % number for number in range(5_000))
    (folder / SCRIPT_PATH[1:]).write_bytes(script)
    is_two = version == "HTTP/2"
    async with (
        page_of(folder) as relay,
        listening(relay) as origin,
        httpx2.AsyncClient(base_url=origin, http1=not is_two, http2=is_two) as client,
    ):
        for accepted in ("identity", "gzip", "br"):
            found = await client.get(SCRIPT_PATH, headers={"accept-encoding": accepted})
            assert (found.http_version, found.status_code, found.content) == (version, 200, script)
            head = await client.head(SCRIPT_PATH, headers={"accept-encoding": accepted})
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-length"] == found.headers["content-length"]
            known = {"accept-encoding": accepted, "if-none-match": found.headers["etag"]}
            assert (await client.get(SCRIPT_PATH, headers=known)).status_code == 304
        missing = await client.head("/assets/none.js")
        assert (missing.status_code, missing.content) == (404, b"")


async def test_foreign_pages_may_link_to_the_page_and_use_nothing_of_it(folder: Path) -> None:
    visit = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    embedded = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"}
    framed = visit | {"sec-fetch-dest": "iframe"}
    own = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "sec-fetch-dest": "script"}
    async with page_of(folder) as relay, listening(relay) as origin, httpx2.AsyncClient(base_url=origin) as client:
        for path in ("/", "/favicon.svg", SCRIPT_PATH):
            statuses = [
                (await client.get(path, headers=headers)).status_code for headers in (visit, embedded, framed, own)
            ]
            assert statuses == [200 if path == "/" else 403, 403, 403, 200]


def test_the_greeting_names_the_page() -> None:
    assert "In a browser: http://[::1]:8080/\n" in banner("::1", 8080, None, version="1")
