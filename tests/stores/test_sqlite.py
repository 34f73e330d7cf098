"""What the SQLite stores promise beyond ``test_conformance``: crashes, faults, threads, files."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.stores.kit import (
    PAGE,
    append,
    billed,
    claim,
    entry,
    key,
    lines_of,
    opening,
    read_all,
    record,
    seal,
    write,
    write_sealed,
)
from tests.stores.old_versions import OLD_KEY, write_old

from headrace.errors import StoreError, StreamGone, StreamNotFound
from headrace.stores.sqlite import SqliteDatabase, checkpoint, logs, schema
from headrace.stores.sqlite.chains import LogReader
from headrace.stream.segment import Flush
from headrace.stream.store import Batch, OpenLog, Settlement, Store, UsageFilter
from headrace.types.access import ClientKey
from headrace.types.bill import Bill
from headrace.types.ids import KeyId, Offset, RequestId, StreamId
from headrace.types.outcome import State
from headrace.types.record import Perceived, Source

S = StreamId("s")
EVER = UsageFilter(since=0, until=1e12)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "headrace.db"


class Fault:
    """A store that stalls or fails on demand."""

    def __init__(self) -> None:
        self.commits = 0
        self.error: BaseException | None = None
        self.reached = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self) -> None:
        self.commits += 1
        self.reached.set()
        self.gate.wait()
        error, self.error = self.error, None
        if error is not None:
            raise error

    def stall(self) -> None:
        self.reached.clear()
        self.gate.clear()


@pytest.fixture
def fault() -> Iterator[Fault]:
    fault = Fault()
    yield fault
    fault.gate.set()


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for another thread, some seconds at most."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (what is waited for is another thread's effect on a file)
            await asyncio.sleep(0.005)


def size_of(path: Path) -> int:
    return path.stat().st_size


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def query(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute(sql)]


async def stall(store: Store, fault: Fault) -> asyncio.Future[None]:
    """Stall the writer inside the commit of a new log named ``stalled``."""
    fault.stall()
    future = store.commit(Batch([opening("stalled")]))
    await asyncio.to_thread(fault.reached.wait)
    return future


class TestCrash:
    SCRIPT = """
        import asyncio, os, signal, sys
        from headrace.stores.sqlite import SqliteDatabase
        from headrace.stream.store import Batch
        from tests.stores.kit import append, opening, record, seal

        async def main():
            async with SqliteDatabase(sys.argv[1]) as database:
                await database.store.commit(Batch([opening("s"), opening("done")], [append("done", 0, b"d")]))
                await database.store.commit(Batch([], [append("s", 0, b"0", b"1")], [seal("done", 1)]))
                await database.records.save([record("r")])
                await database.store.commit(Batch(appends=[append("s", 2, b"2")]))
                os.kill(os.getpid(), signal.SIGKILL)

        asyncio.run(main())
    """

    async def test_what_was_committed_survives_a_kill(self, path: Path) -> None:
        command = [sys.executable, "-c", textwrap.dedent(self.SCRIPT), str(path)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["src", "."])}
        assert (await asyncio.to_thread(subprocess.run, command, env=environment, check=False)).returncode == -9
        async with SqliteDatabase(path) as database:
            store = database.store
            assert await read_all(store, "s") == [b"0", b"1", b"2"]
            claimed = await store.claim("node-a", lease_s=10.0, now=0.0)
            assert claimed == [OpenLog(stream_id=S, epoch=2, entries=Offset(3))]
            assert await database.records.get(RequestId("r")) is not None
            await store.commit(Batch(appends=[append("s", 3, b"3", epoch=2)], seals=[seal("s", 4, epoch=2)]))
            assert await read_all(store, "s") == [b"0", b"1", b"2", b"3"]
            assert await read_all(store, "done") == [b"d"]

    async def test_a_clean_restart_goes_on_where_it_was(self, path: Path) -> None:
        async with SqliteDatabase(path) as database:
            await write(database.store, "s", [b"0"])
            await write(database.store, "t", [b"x"], [b"y"])
        async with SqliteDatabase(path) as database:
            await database.store.commit(Batch(appends=[append("s", 1, b"1"), append("t", 1, b"gap")]))
            assert await read_all(database.store, "s") == [b"0", b"1"]
            assert await read_all(database.store, "t") == [b"x", b"y"]


class TestGroupCommit:
    async def test_all_that_waits_goes_into_one_transaction_and_records_too(self, path: Path, fault: Fault) -> None:
        async with SqliteDatabase(path, before_commit=fault) as database:
            stalled = await stall(database.store, fault)
            futures = [database.store.commit(Batch([opening(f"s{at}")])) for at in range(20)]
            futures += [database.records.save([record(f"r{at}")]) for at in range(20)]
            assert database.store.backlog() == 21
            fault.gate.set()
            await asyncio.gather(stalled, *futures)
            assert fault.commits == 2
            assert database.store.backlog() == 0

    async def test_a_log_and_its_record_of_one_round_are_kept_together_or_not_at_all(
        self, path: Path, fault: Fault
    ) -> None:
        async with SqliteDatabase(path, before_commit=fault) as database:
            for at in range(10):
                saved = database.records.save([record(f"r{at}")])
                time.sleep(0.005)  # noqa: ASYNC251 (the writer's thread has time to take it alone, if it were handed over)
                await asyncio.gather(saved, database.store.commit(Batch([opening(f"s{at}")])))
            assert fault.commits == 10

    async def test_a_stalled_writer_blocks_neither_the_loop_nor_readers(self, path: Path, fault: Fault) -> None:
        async with SqliteDatabase(path, before_commit=fault) as database:
            await write(database.store, "s", [b"0"])
            stalled = await stall(database.store, fault)
            assert await read_all(database.store, "s") == [b"0"]
            assert not stalled.done()
            fault.gate.set()
            await stalled

    async def test_a_commit_whose_caller_was_cancelled_is_kept(self, path: Path, fault: Fault) -> None:
        async with SqliteDatabase(path, before_commit=fault) as database:
            (await stall(database.store, fault)).cancel()
            fault.gate.set()
            await write(database.store, "s", [b"0"])
            assert await database.store.find(StreamId("stalled")) is not None
            assert database.store.backlog() == 0

    async def test_what_waits_is_bounded(self, path: Path, fault: Fault) -> None:
        async with SqliteDatabase(path, before_commit=fault, max_backlog_bytes=100_000) as database:
            await write(database.store, "s")
            stalled = await stall(database.store, fault)
            taken = database.store.commit(Batch(appends=[append("s", 0, b"x" * 90_000)]))
            refused = database.store.commit(Batch(appends=[append("s", 1, b"x" * 90_000)]))
            with pytest.raises(StoreError, match="behind"):
                await refused
            fault.gate.set()
            await asyncio.gather(stalled, taken)
            await database.store.commit(Batch(appends=[append("s", 1, b"x" * 90_000)]))
            assert len(await read_all(database.store, "s")) == 2


class TestFaults:
    async def test_a_full_disk_fails_the_commit_and_later_ones_are_tried_anew(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connections: list[sqlite3.Connection] = []
        connect = sqlite3.connect

        def remembered(*args: Any, **options: Any) -> sqlite3.Connection:
            connections.append(connect(*args, **options))
            return connections[-1]

        monkeypatch.setattr(sqlite3, "connect", remembered)
        async with SqliteDatabase(path) as database:
            store = database.store
            await write(store, "s", [b"0"])
            limit_pages(connections, 25)
            with pytest.raises(StoreError, match="full") as caught:
                await store.commit(Batch([opening("t")], [append("s", 1, b"1" * 100_000)]))
            assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
            assert await store.find(StreamId("t")) is None
            limit_pages(connections, 1_000_000)
            await store.commit(Batch([opening("u")], [append("s", 2, b"gap"), append("u", 0, b"u")]))
            assert await read_all(store, "s") == [b"0"]
            assert await read_all(store, "u") == [b"u"]
            await store.commit(Batch(appends=[append("s", 1, b"1")]))
            assert await read_all(store, "s") == [b"0", b"1"]

    async def test_a_failed_transaction_leaves_nothing_of_any_batch(self, path: Path, fault: Fault) -> None:
        async with SqliteDatabase(path, before_commit=fault) as database:
            await write(database.store, "s", [b"0"])
            stalled = await stall(database.store, fault)
            fault.error = sqlite3.OperationalError("disk I/O error")
            fault.gate.set()
            with pytest.raises(StoreError, match="disk I/O error"):
                await stalled
            await database.store.commit(Batch(appends=[append("s", 1, b"1")], seals=[seal("s", 2)]))
            assert await database.store.find(StreamId("stalled")) is None
            assert await read_all(database.store, "s") == [b"0", b"1"]

    async def test_bad_data_fails_its_own_batch_alone(self, path: Path, fault: Fault) -> None:
        async with SqliteDatabase(path, before_commit=fault) as database:
            stalled = await stall(database.store, fault)
            before = database.store.commit(Batch([opening("before")], [append("before", 0, b"0")]))
            bad = database.store.commit(Batch([opening("well"), opening("lone surrogate \ud800")]))
            after = database.store.commit(Batch([opening("after")], [append("before", 1, b"1")]))
            fault.gate.set()
            await asyncio.gather(stalled, before, after)
            with pytest.raises(StoreError) as caught:
                await bad
            assert "surrogate" not in str(caught.value)
            assert await read_all(database.store, "before") == [b"0", b"1"]
            assert await database.store.find(StreamId("well")) is None
            assert await database.store.find(StreamId("after")) is not None

    async def test_a_dead_writer_fails_what_is_in_flight_and_the_next_commit_revives_it(
        self, path: Path, fault: Fault
    ) -> None:
        async with SqliteDatabase(path, before_commit=fault) as database:
            await write(database.store, "s", [b"0"])
            fault.error = RuntimeError("a bug")
            with pytest.raises(StoreError) as caught:
                await database.store.commit(Batch(appends=[append("s", 1, b"lost")]))
            assert "a bug" not in str(caught.value)
            assert database.store.backlog() == 0
            await database.store.commit(Batch(appends=[append("s", 1, b"1")]))
            assert await read_all(database.store, "s") == [b"0", b"1"]

    async def test_what_waits_behind_a_dying_writer_is_tried_by_the_next_one(self, path: Path, fault: Fault) -> None:
        async with SqliteDatabase(path, before_commit=fault) as database:
            stalled = await stall(database.store, fault)
            waiting = database.store.commit(Batch([opening("s")]))
            fault.error = RuntimeError("a bug")
            fault.gate.set()
            with pytest.raises(StoreError):
                await stalled
            await waiting
            assert await database.store.find(S) is not None

    async def test_a_writer_that_cannot_connect_again_fails_commits_until_it_can(
        self, path: Path, fault: Fault, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with SqliteDatabase(path, before_commit=fault) as database:
            stalled = await stall(database.store, fault)
            waiting = database.store.commit(Batch([opening("s")]))
            with monkeypatch.context() as patch:
                patch.setattr(sqlite3, "connect", refuse)
                fault.error = RuntimeError("a bug")
                fault.gate.set()
                for future in (stalled, waiting, database.store.commit(Batch([opening("t")]))):
                    with pytest.raises(StoreError):
                        await future
            await database.store.commit(Batch([opening("u")]))
            assert [await database.store.find(StreamId(name)) is not None for name in "stu"] == [False, False, True]

    async def test_a_writer_that_dies_while_closing_leaves_no_future_pending(self, path: Path, fault: Fault) -> None:
        database = SqliteDatabase(path, before_commit=fault)
        async with database:
            stalled = await stall(database.store, fault)
            waiting = database.store.commit(Batch([opening("s")]))
            fault.error = RuntimeError("a bug")
            asyncio.get_running_loop().call_later(0.02, fault.gate.set)
        assert isinstance(stalled.exception(), StoreError)
        assert waiting.exception() is None
        assert query(path, "SELECT stream_id FROM log") == [S]


def refuse(*_: Any, **__: Any) -> sqlite3.Connection:
    raise sqlite3.OperationalError("unable to open database file")


def limit_pages(connections: list[sqlite3.Connection], pages: int) -> None:
    """Make the disk full at that size: the limit is a connection's own, so all get it."""
    for connection in connections:
        try:
            connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()
        except sqlite3.ProgrammingError:
            continue  # closed


class TestClosing:
    async def test_what_was_handed_over_is_committed(self, path: Path) -> None:
        async with SqliteDatabase(path) as database:
            futures = [database.store.commit(Batch([opening(f"s{at}")])) for at in range(50)]
        assert all(future.done() and future.exception() is None for future in futures)
        assert query(path, "SELECT count(*) FROM log") == [50]
        assert not path.with_name("headrace.db-wal").exists()

    async def test_a_closed_store_says_so(self, path: Path) -> None:
        async with SqliteDatabase(path) as database:
            pass
        with pytest.raises(StoreError, match="closed"):
            await database.store.commit(Batch([opening("s")]))
        with pytest.raises(StoreError, match="closed"):
            await database.store.find(S)

    async def test_a_stalled_writer_cannot_hold_up_closing(self, path: Path, fault: Fault) -> None:
        async with SqliteDatabase(path, before_commit=fault, close_wait_s=0.02) as database:
            stalled = await stall(database.store, fault)
            waiting = database.store.commit(Batch([opening("s")]))
        for future in (stalled, waiting):
            assert isinstance(future.exception(), StoreError)

    async def test_the_database_is_open_while_either_store_is(self, path: Path) -> None:
        database = SqliteDatabase(path)
        async with database.records as records:
            async with database.store as store:
                await store.commit(Batch([opening("s")]))
            await records.save([record("r")])
            assert await records.get(RequestId("r")) is not None
        with pytest.raises(StoreError, match="closed"):
            await records.get(RequestId("r"))


class TestFile:
    @pytest.fixture
    def text_file(self, path: Path) -> Path:
        path.write_text("text, and rather a lot of it\n" * 200)
        return path

    async def test_only_the_owner_can_read_any_of_its_files(self, path: Path) -> None:
        umask = os.umask(0)
        try:
            async with SqliteDatabase(path) as database:
                await write(database.store, "s", [b"0"])
                modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
        finally:
            os.umask(umask)
        assert modes == {f"headrace.db{suffix}": 0o600 for suffix in ("", "-wal", "-shm", ".lock")}

    async def test_a_second_server_is_refused_and_told_by_whom(self, path: Path) -> None:
        async with SqliteDatabase(path):
            with pytest.raises(StoreError) as caught:
                async with SqliteDatabase(path):
                    pass
            assert str(path) in str(caught.value)
            assert f"process {os.getpid()}" in str(caught.value)
        async with SqliteDatabase(path):
            pass

    async def test_a_newer_schema_is_refused(self, path: Path) -> None:
        async with SqliteDatabase(path):
            pass
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version = 99")
        with pytest.raises(StoreError, match=r"newer Headrace \(schema 99"):
            async with SqliteDatabase(path):
                pass

    async def test_another_programs_database_is_refused_and_left_as_it_was(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE bookmarks (url)")
        before = contents(path.parent)
        with pytest.raises(StoreError, match="not a Headrace database"):
            async with SqliteDatabase(path):
                pass
        assert contents(path.parent)["headrace.db"] == before["headrace.db"]

    async def test_what_is_no_database_is_refused(self, text_file: Path) -> None:
        with pytest.raises(StoreError, match="not a database"):
            async with SqliteDatabase(text_file):
                pass

    async def test_a_folder_that_does_not_exist_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="nowhere"):
            async with SqliteDatabase(tmp_path / "nowhere" / "x.db"):
                pass


@pytest.mark.parametrize("version", [1, 2, 3])
class TestOlderFile:
    @pytest.fixture
    def old(self, path: Path, version: int) -> Path:
        write_old(path, version, {"done": [b"{}", b"[1]"], "s": [b"0", b"1"]}, ended=["done"])
        return path

    async def test_its_logs_are_read_with_the_times_that_are_known(self, old: Path, version: int) -> None:
        at = 100.5 if version >= 2 else None
        tokens = [1, 2] if version >= 3 else [None, None]
        async with SqliteDatabase(old) as database:
            store = database.store
            assert await read_all(store, "done") == [b"{}", b"[1]"]
            assert await store.flushes(StreamId("done"), after=Offset(-1), limit=9) == [
                Flush(Offset(0), 1, 2, at),
                Flush(Offset(1), 1, 3, at),
            ]
            assert [part.tokens for part in await store.read(S, after=Offset(-1), max_bytes=PAGE)] == tokens
        assert query(old, "PRAGMA user_version") == [4]

    async def test_its_tables_become_those_of_a_new_file(self, old: Path, tmp_path: Path, version: int) -> None:
        names = "SELECT name FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name"
        columns = "SELECT name FROM pragma_table_info('{}') ORDER BY name"
        async with SqliteDatabase(tmp_path / "new.db"), SqliteDatabase(old):
            pass
        assert query(old, names) == query(tmp_path / "new.db", names)
        for table in query(old, "SELECT name FROM sqlite_schema WHERE type = 'table'"):
            assert query(old, columns.format(table)) == query(tmp_path / "new.db", columns.format(table))

    async def test_a_log_in_it_is_gone_on_with_and_later_times_and_tokens_are_known(
        self, old: Path, version: int
    ) -> None:
        at = 100.5 if version >= 2 else None
        async with SqliteDatabase(old) as database:
            store = database.store
            assert await store.claim("node-a", lease_s=10.0, now=0.0) == [
                OpenLog(stream_id=S, epoch=2, entries=Offset(2), tokens=2 if version >= 3 else 0)
            ]
            batch = Batch(appends=[append("s", 2, b"2", epoch=2, at=9.5, tokens=3)])
            await store.commit(batch)
            await write_sealed(store, "new", [b"x"])
        async with SqliteDatabase(old) as database:
            store = database.store
            assert await read_all(store, "s") == [b"0", b"1", b"2"]
            assert await read_all(store, "new") == [b"x"]
            assert [flush.at for flush in await store.flushes(S, after=Offset(-1), limit=9)] == [at, at, 9.5]
            assert (await store.claim("node-a", lease_s=10.0, now=0.0))[0].tokens == 3

    async def test_its_records_are_read_and_cost_nothing_until_they_end(self, old: Path) -> None:
        async with SqliteDatabase(old) as database:
            records = database.records
            done, running = [await records.get(RequestId(f"r-{name}")) for name in ("done", "s")]
            assert done is not None
            assert (done.completion_tokens, done.bill, done.tags, done.key_id) == (3, None, {}, "")
            assert await records.usage(EVER, by=[], limit=9) == []
            assert running is not None
            ended = msgspec.structs.replace(running, state=State.TRUNCATED, bill=Bill(nano_usd=7))
            await records.save([ended])
            assert [line.estimated.nano_usd for line in await records.usage(EVER, by=[], limit=9)] == [7]
            await records.settle([Settlement(RequestId("r-s"), 1, 2, Bill(nano_usd=5))])
            settled = msgspec.structs.replace(ended, delivered_tokens=1, generated_tokens=2, bill=Bill(nano_usd=5))
            assert await records.get(RequestId("r-s")) == settled

    async def test_later_requests_on_its_logs_are_found(self, old: Path) -> None:
        joined = record("j", 200.0, stream_id="j", log_id=S, source=Source.JOINED)
        async with SqliteDatabase(old) as database:
            records = database.records
            await records.save([joined])
            assert [found.id for found in await records.of_stream(S)] == ["r-s", "j"]
            assert (await records.of_stream(StreamId("j"))) == [joined]
            assert await records.forget(S)
            assert [found.id for found in (await records.newest(owner="ann")).records] == ["r-done"]

    async def test_its_keys_stay_and_claims_and_cache_are_empty(self, old: Path, version: int) -> None:
        async with SqliteDatabase(old) as database:
            assert await database.keys.all() == ([OLD_KEY] if version >= 3 else [])
            assert await database.cache.count() == (0, 0)
            assert await database.claims.claim(claim("k")) == claim("k")
            await database.cache.put(entry("k", size=7))
            assert await database.cache.count() == (1, 7)
        async with SqliteDatabase(old) as database:
            assert await database.claims.find("ann", "k") == claim("k")
            assert await database.cache.find("k") == entry("k", size=7)

    async def test_its_logs_are_trimmed_and_erased(self, old: Path) -> None:
        async with SqliteDatabase(old) as database:
            store = database.store
            assert await store.trim(ended_before=1e9, max_bytes=PAGE) == 1
            with pytest.raises(StreamNotFound):
                await store.flushes(StreamId("done"), after=Offset(-1), limit=9)
            assert await store.erase(S)
        assert query(old, "SELECT count(*) FROM segment") == [0]

    async def test_a_command_refuses_it_and_leaves_it_to_the_server_that_may_run(self, old: Path, version: int) -> None:
        with pytest.raises(StoreError, match=rf"older Headrace \(schema {version}\).*headrace serve"):
            async with SqliteDatabase(old, exclusive=False):
                pass
        assert query(old, "PRAGMA user_version") == [version]
        async with SqliteDatabase(old), SqliteDatabase(old, exclusive=False) as command:
            assert await read_all(command.store, "s") == [b"0", b"1"]

    async def test_a_change_of_schema_that_fails_leaves_it_as_it_was(
        self, old: Path, version: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        failing = {**schema._MIGRATIONS, 4: "CREATE TABLE more (x);\nALTER TABLE missing ADD COLUMN x"}
        monkeypatch.setattr(schema, "SCHEMA_VERSION", 5)
        monkeypatch.setattr(schema, "_MIGRATIONS", failing)
        with pytest.raises(StoreError, match="missing"):
            async with SqliteDatabase(old):
                pass
        monkeypatch.undo()
        assert query(old, "PRAGMA user_version") == [version]
        assert ("tokens" in query(old, "SELECT name FROM pragma_table_info('segment')")) == (version >= 3)
        assert "log_id" not in query(old, "SELECT name FROM pragma_table_info('record')")
        assert not {"claim", "tally", "more"} & set(query(old, "SELECT name FROM sqlite_schema"))
        async with SqliteDatabase(old) as database:
            assert await read_all(database.store, "s") == [b"0", b"1"]

    async def test_it_refuses_a_file_of_this_version(
        self, path: Path, version: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with SqliteDatabase(path):
            pass
        monkeypatch.setattr(schema, "SCHEMA_VERSION", version)
        with pytest.raises(StoreError, match=rf"newer Headrace \(schema 4; this one knows {version}\)"):
            async with SqliteDatabase(path):
                pass


class TestCommandBesideTheServer:
    async def test_it_sees_open_logs_and_can_ask_for_their_end(self, path: Path) -> None:
        async with SqliteDatabase(path) as server, SqliteDatabase(path, exclusive=False) as command:
            await write(server.store, "other", [b"x"])
            await write(server.store, "s", [b"0"], [b"1"])
            found = await command.store.find(S)
            assert found is not None
            assert found.entries == 2
            assert await read_all(command.store, "s", max_bytes=1) == [b"0", b"1"]
            await server.store.commit(Batch(appends=[append("s", 2, b"2")]))
            assert await read_all(command.store, "s", after=1) == [b"2"]
            assert await command.store.request_cancel(S)
            assert await server.store.cancel_requests("node-a") == [S]
            await server.store.commit(Batch(appends=[append("s", 3, b"3")]))
            assert await read_all(server.store, "s") == [b"0", b"1", b"2", b"3"]

    async def test_what_it_erases_is_gone_for_the_server_too(self, path: Path) -> None:
        async with SqliteDatabase(path) as server, SqliteDatabase(path, exclusive=False) as command:
            await write(server.store, "s", [b"0"])
            await write(server.store, "other", [b"x"])
            await command.store.erase(S)
            await server.store.commit(Batch(appends=[append("s", 1, b"1"), append("other", 1, b"y")]))
            with pytest.raises(StreamNotFound):
                await server.store.read(S, after=Offset(-1), max_bytes=PAGE)
            assert await read_all(server.store, "other") == [b"x", b"y"]
        assert query(path, "SELECT count(*) FROM segment") == [2]


class TestUsage:
    @pytest.mark.parametrize(
        ("owner", "index"), [(None, "usage_age (accepted_at>?"), ("ann", "usage_owner (owner=? AND accepted_at>?")]
    )
    async def test_a_range_of_time_is_found_by_an_index(self, path: Path, owner: str | None, index: str) -> None:
        plans: list[str] = []
        async with SqliteDatabase(path) as database:
            connection = database._usage_reader._connection
            assert connection is not None
            connection.set_trace_callback(plans.append)
            query_of_owner = UsageFilter(since=1.0, until=2.0, owner=owner, model="m", tag=("team", "x"))
            for by in (["model"], ["owner"], ["owner", "key", "day"]):
                await database.records.usage(query_of_owner, by=by, limit=9)
            await database.records.spent(since=1.0)
        *of_usage, of_spent = [query_plan(path, sql) for sql in plans]
        assert len(of_usage) == 3
        assert all(any(index in step for step in plan) for plan in of_usage)
        assert any("usage_age (accepted_at>?" in step for step in of_spent)

    async def test_settling_finds_its_rows_by_their_ids(self, path: Path) -> None:
        """One that looked at all rows would cost more with each request ever made."""
        costs = []
        async with SqliteDatabase(path) as database:
            for count in (100, 3000):
                await database.records.save([billed(f"{count}-{number}") for number in range(count)])
                costs.append(await steps_of_settling(database, f"{count}-7"))
        assert costs[1] < 1.5 * costs[0] + 10

    async def test_a_record_and_what_it_cost_are_kept_together_or_not_at_all(self, path: Path, fault: Fault) -> None:
        async with SqliteDatabase(path, before_commit=fault) as database:
            fault.error = sqlite3.OperationalError("disk I/O error")
            with pytest.raises(StoreError):
                await database.records.save([billed("r")])
            assert await database.records.get(RequestId("r")) is None
            assert await database.records.usage(EVER, by=[], limit=9) == []
            await database.records.save([billed("r")])
            fault.error = sqlite3.OperationalError("disk I/O error")
            with pytest.raises(StoreError):
                await database.records.settle([Settlement(RequestId("r"), 1, 2, Bill(nano_usd=5))])
            assert await database.records.get(RequestId("r")) == billed("r")
            assert (await database.records.usage(EVER, by=[], limit=9))[0].estimated.nano_usd == 1

    async def test_saving_a_record_without_a_bill_runs_one_statement(self, path: Path) -> None:
        ran: list[str] = []
        async with SqliteDatabase(path) as database:
            await database._writer.submit(lambda connection: connection.set_trace_callback(ran.append))
            ran.clear()
            await database.records.save([record("r")])
            assert [sql.split()[0] for sql in ran if "record" in sql or "usage" in sql] == ["INSERT"]
            ran.clear()
            await database.records.save([billed("r")])
            assert [sql.split()[0] for sql in ran if "record" in sql or "usage" in sql] == ["INSERT", "INSERT"]

    async def test_a_long_sum_holds_up_neither_records_nor_the_look_at_the_version_of_keys(self, path: Path) -> None:
        async with SqliteDatabase(path) as database:
            connection = database._usage_reader._connection
            assert connection is not None
            gate = threading.Event()
            await database.records.save([billed(f"r{number}") for number in range(100)])
            connection.set_progress_handler(lambda: not gate.wait(10), 10)
            summing = asyncio.ensure_future(database.records.usage(EVER, by=[], limit=9))
            try:
                assert await database.records.get(RequestId("r1")) == billed("r1")
                assert await database.keys.version() == 0
                assert not summing.done()
            finally:
                gate.set()
            assert (await summing)[0].estimated.requests == 100


def query_plan(path: Path, sql: str) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]


async def steps_of_settling(database: SqliteDatabase, name: str) -> int:
    counter = Counter()
    await database._writer.submit(lambda connection: connection.set_progress_handler(counter, 10))
    await database.records.settle([Settlement(RequestId(name), 1, 2, Bill(nano_usd=5))])
    await database._writer.submit(lambda connection: connection.set_progress_handler(None, 0))
    return counter.steps


class TestKeys:
    async def test_two_processes_change_one_key_and_no_change_is_lost(self, path: Path) -> None:
        async with SqliteDatabase(path) as server, SqliteDatabase(path, exclusive=False) as command:
            await server.keys.insert(key("a", name=""))
            append_one = [database.keys.change(KeyId("a"), more("x")) for database in (server, command) * 10]
            await asyncio.gather(*append_one)
            assert [found.name for found in await server.keys.all()] == ["x" * 20]
            assert await server.keys.version() == await command.keys.version() == 21

    async def test_a_change_that_fails_leaves_the_writer_alive_and_what_shares_its_transaction_whole(
        self, path: Path, fault: Fault
    ) -> None:
        async with SqliteDatabase(path, before_commit=fault) as database:
            await database.keys.insert(key("a"))
            stalled = await stall(database.store, fault)
            changing = asyncio.ensure_future(database.keys.change(KeyId("a"), refused))
            await asyncio.sleep(0)
            saving = database.records.save([billed("r")])
            fault.gate.set()
            with pytest.raises(LookupError, match="no such secret"):
                await changing
            await asyncio.gather(stalled, saving)
            assert fault.commits == 3
            assert await database.keys.all() == [key("a")]

    async def test_they_are_bounded(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("headrace.stores.sqlite.keys.MAX_KEYS", 1)
        async with SqliteDatabase(path) as database:
            await database.keys.insert(key("a"))
            with pytest.raises(StoreError, match="1 keys already"):
                await database.keys.insert(key("b"))

    async def test_a_digest_that_was_replaced_is_soon_in_no_table(self, path: Path) -> None:
        async with SqliteDatabase(path) as database:
            await database.keys.insert(key("before"))
            await database.keys.change(KeyId("before"), lambda found: msgspec.structs.replace(found, secrets=()))
        assert b"before" * 8 not in contents(path.parent)["headrace.db"]


class TestRequestsOnALog:
    async def test_they_are_found_and_forgotten_by_indexes(self, path: Path) -> None:
        ran: list[str] = []
        async with SqliteDatabase(path) as database:
            reading = database._record_reader._connection
            assert reading is not None
            reading.set_trace_callback(ran.append)
            await database._writer.submit(lambda connection: connection.set_trace_callback(ran.append))
            await database.records.of_stream(S)
            await database.records.forget(S)
            await database.records.add_perceived(S, Perceived(transport="fetch"))
        plans = [query_plan(path, sql) for sql in ran if " record " in sql]
        assert len(plans) == 3
        for plan in plans:
            assert any("record_stream (stream_id=?)" in step for step in plan)
        for plan in plans[:2]:
            assert any("record_log (log_id=?)" in step for step in plan)


class TestClaims:
    async def test_what_was_claimed_is_held_after_a_restart(self, path: Path) -> None:
        async with SqliteDatabase(path) as database:
            await database.claims.claim(claim("k"))
        async with SqliteDatabase(path) as database:
            assert await database.claims.claim(claim("k", "t")) == claim("k")

    async def test_of_two_processes_one_holds_a_key_and_both_are_told_which(self, path: Path) -> None:
        async with SqliteDatabase(path) as one, SqliteDatabase(path, exclusive=False) as other:
            for number in range(20):
                tries = [at.claims.claim(claim(f"k{number}", name)) for at, name in ((one, "s"), (other, "t"))]
                first, second = await asyncio.gather(*tries)
                assert first == second

    async def test_a_claim_that_was_not_kept_is_held_by_nobody(self, path: Path, fault: Fault) -> None:
        async with SqliteDatabase(path, before_commit=fault) as database:
            fault.error = sqlite3.OperationalError("disk I/O error")
            with pytest.raises(StoreError, match="disk I/O error"):
                await database.claims.claim(claim("k"))
            assert await database.claims.find("ann", "k") is None
            assert await database.claims.claim(claim("k", "t")) == claim("k", "t")
            assert query(path, "SELECT entries FROM tally WHERE name = 'claim'") == [1]

    async def test_they_are_bounded(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("headrace.stores.sqlite.claims.MAX_CLAIMS", 2)
        async with SqliteDatabase(path) as database:
            claims = database.claims
            for name, log in (("a", "s"), ("b", "t")):
                await claims.claim(claim(name, log))
            with pytest.raises(StoreError, match="holds 2 idempotency keys"):
                await claims.claim(claim("c", "u"))
            assert await claims.find("ann", "c") is None
            assert await claims.claim(claim("a", "u")) == claim("a", "s")
            assert await claims.claim(claim("a", "u"), instead_of=S) == claim("a", "u")
            assert await claims.trim(claimed_before=2.0) == 2
            assert await claims.claim(claim("c", "u")) == claim("c", "u")

    async def test_nothing_costs_more_where_there_are_many(self, path: Path) -> None:
        costs = []
        async with SqliteDatabase(path) as database:
            for count in (100, 3000):
                await insert_claims(database, count)
                counter = await counting(database)
                claims = database.claims
                await claims.claim(claim(f"new-{count}", "n", at=5.0))
                await claims.claim(claim(f"{count}-7", "n"))
                await claims.forget(StreamId("n"))
                assert await claims.trim(claimed_before=1.0) == 0
                costs.append(counter.steps)
        assert costs[1] < 1.5 * costs[0] + 10


class TestCache:
    async def test_nothing_costs_more_where_there_are_many(self, path: Path) -> None:
        costs = []
        async with SqliteDatabase(path) as database:
            cache = database.cache
            for count in (600, 6000):
                await asyncio.gather(*[cache.put(entry(f"{count}-{at}", at, log=f"s{at}")) for at in range(count)])
                counter = await counting(database)
                await cache.put(entry("new", 1e6, log="n"))
                await cache.put(entry("new", 1e6, log="m"))
                await cache.forget(StreamId("m"))
                without_trim = counter.steps
                entries, size = await cache.count()
                assert await cache.trim(stored_before=0.0, max_entries=entries, max_bytes=size - 1) == 1
                costs.append((without_trim, counter.steps - without_trim))
        (few, few_trimmed), (many, many_trimmed) = costs
        assert many < 1.5 * few + 10
        assert many_trimmed < 1.5 * few_trimmed + 10

    async def test_an_entry_is_put_with_the_log_it_refers_to_or_not_at_all(self, path: Path, fault: Fault) -> None:
        async with SqliteDatabase(path, before_commit=fault) as database:
            fault.error = sqlite3.OperationalError("disk I/O error")
            committing, putting = database.store.commit(Batch([opening("s")])), database.cache.put(entry("k"))
            outcomes = await asyncio.gather(committing, putting, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [StoreError, StoreError]
            assert (await database.store.find(S), await database.cache.find("k")) == (None, None)
            assert await database.cache.count() == (0, 0)

    async def test_what_waits_to_be_put_does_not_count_as_logs_that_wait(self, path: Path, fault: Fault) -> None:
        async with SqliteDatabase(path, before_commit=fault) as database:
            stalled = await stall(database.store, fault)
            putting = database.cache.put(entry("k"))
            assert database.store.backlog() == 1
            fault.gate.set()
            await asyncio.gather(stalled, putting)


async def insert_claims(database: SqliteDatabase, count: int) -> None:
    await asyncio.gather(*[database.claims.claim(claim(f"{count}-{at}", f"s{at}", at=at)) for at in range(1, count)])


async def counting(database: SqliteDatabase) -> Counter:
    """Count what the writer does from now on."""
    counter = Counter()
    await database._writer.submit(lambda connection: connection.set_progress_handler(counter, 10))
    return counter


def more(letter: str) -> Callable[[ClientKey], ClientKey]:
    return lambda found: msgspec.structs.replace(found, name=found.name + letter)


def refused(_: ClientKey) -> ClientKey:
    raise LookupError("no such secret")


class TestCheckpoints:
    async def test_they_never_happen_in_a_commit(self, path: Path) -> None:
        async with SqliteDatabase(path, checkpoint_after_bytes=1 << 40) as database:
            await write(database.store, "s", *([b"x" * 100_000] for _ in range(60)))
            assert size_of(path) < 200_000
            assert size_of(path.with_name("headrace.db-wal")) > 6_000_000
        assert size_of(path) > 6_000_000

    async def test_a_thread_of_their_own_does_them_when_the_log_has_grown(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        threads = set()
        original = checkpoint._checkpoint

        def noted(connection: sqlite3.Connection, mode: str) -> tuple[bool, int]:
            threads.add(threading.current_thread().name)
            return original(connection, mode)

        monkeypatch.setattr(checkpoint, "_checkpoint", noted)
        async with SqliteDatabase(path, checkpoint_after_bytes=100_000) as database:
            await write(database.store, "s", *([b"x" * 50_000] for _ in range(10)))
            await eventually(lambda: size_of(path) > 400_000)
        assert threads == {"headrace-checkpoint"}


class TestReading:
    async def test_pages_of_one_segment_cost_as_much_per_entry_in_a_long_log_as_in_a_short_one(
        self, path: Path
    ) -> None:
        async with SqliteDatabase(path) as database:
            costs = [await steps_per_segment(database, f"s{length}", length) for length in (500, 5_000)]
        assert costs[1] < 1.5 * costs[0]

    async def test_finding_the_tail_of_a_running_log_does_not_look_at_others(self, path: Path) -> None:
        async with SqliteDatabase(path) as database:
            await write(database.store, "running", [b"0"])
            await write(database.store, "other")
            await database.store.commit(Batch(appends=[append("other", at, b"{}") for at in range(5_000)]))
            async with steps(database) as counted:
                assert await read_all(database.store, "running") == [b"0"]
        assert counted.steps < 100

    async def test_a_log_sealed_between_two_looks_is_read_to_its_end(self, path: Path) -> None:
        async with SqliteDatabase(path) as database:
            await write(database.store, "s", [b"0"])
            before = database._tables.live(S)
            await database.store.commit(Batch([], [append("s", 1, b"1")], [seal("s", 2)]))
            reader = LogReader(lambda _: before)
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                assert lines_of(reader.read(connection, S, Offset(-1), PAGE)) == [b"0", b"1"]

    async def test_a_page_of_flushes_costs_as_much_in_a_long_log_as_in_a_short_one(self, path: Path) -> None:
        costs = []
        async with SqliteDatabase(path) as database:
            for length in (500, 20_000):
                name = f"s{length}"
                await database.store.commit(Batch([opening(name)], [append(name, at, b"{}") for at in range(length)]))
                await database.store.flushes(StreamId(name), after=Offset(-1), limit=1)  # the chain is walked once
                async with steps(database) as counted:
                    for after in (-1, length // 2, length - 101):
                        page = await database.store.flushes(StreamId(name), after=Offset(after), limit=100)
                        assert [flush.offset for flush in page] == list(range(after + 1, after + 101))
                costs.append(counted.steps)
        assert costs[1] < 1.5 * costs[0]

    @pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="reads are counted by Linux")
    async def test_flushes_of_long_segments_are_told_without_reading_them(self, path: Path) -> None:
        async with SqliteDatabase(path) as database:
            await database.store.commit(Batch([opening("s")]))
            for at in range(50):
                await database.store.commit(Batch(appends=[append("s", at, b"x" * 400_000, at=1.5)]))
        async with SqliteDatabase(path) as database:
            before = read_bytes()
            flushes = await database.store.flushes(S, after=Offset(-1), limit=99)
            assert [(flush.bytes, flush.at) for flush in flushes] == [(400_000, 1.5)] * 50
            assert read_bytes() - before < 1_000_000
            await read_all(database.store, "s")
            assert read_bytes() - before > 20_000_000

    async def test_flushes_of_a_chain_that_is_known_are_gone_with_the_content(self, path: Path) -> None:
        async with SqliteDatabase(path) as database:
            await write(database.store, "s", [b"0"], [b"1"], keeps_content=False)
            assert len(await database.store.flushes(S, after=Offset(-1), limit=9)) == 2
            await database.store.commit(Batch(seals=[seal("s", 2)]))
            with pytest.raises(StreamGone):
                await database.store.flushes(S, after=Offset(-1), limit=9)

    async def test_chains_of_many_logs_are_forgotten_and_walked_again(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("headrace.stores.sqlite.chains.MAX_CHAINS", 2)
        monkeypatch.setattr("headrace.stores.sqlite.chains.MAX_CHAIN_SEGMENTS", 5)
        async with SqliteDatabase(path) as database:
            for name in "abcd":
                await write(database.store, name, *([b"%d" % at] for at in range(4)))
            for at in range(4):
                for name in "abcd":
                    page = await database.store.read(StreamId(name), after=Offset(at - 1), max_bytes=1)
                    assert lines_of(page) == [b"%d" % at]
            assert len(database.store._logs._chains) == 1
            assert database.store._logs._chain_segments == 4


def read_bytes() -> int:
    """Return how many bytes this process has read, from wherever."""
    return int(Path("/proc/self/io").read_text().split()[1])


class Counter:
    """Steps of SQLite's virtual machine, in tens."""

    def __init__(self) -> None:
        self.steps = 0

    def __call__(self) -> int:
        self.steps += 1
        return 0


@asynccontextmanager
async def steps(database: SqliteDatabase) -> AsyncGenerator[Counter]:
    """Count what reading logs costs."""
    connection = database._log_reader._connection
    assert connection is not None
    counter = Counter()
    connection.set_progress_handler(counter, 10)
    yield counter
    connection.set_progress_handler(None, 0)


async def steps_per_segment(database: SqliteDatabase, name: str, length: int) -> float:
    """Read a log of that many segments, one a page, and return what each cost."""
    await database.store.commit(Batch([opening(name)], [append(name, at, b"{}") for at in range(length)]))
    async with steps(database) as counter:
        assert len(await read_all(database.store, name, max_bytes=1)) == length
    return counter.steps / length


class TestErasedText:
    SECRET = b'{"content":"a secret that must go"}'

    @pytest.mark.parametrize("how", ["erase", "trim", "keeps no content"])
    async def test_it_is_soon_in_no_file(self, path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
        monkeypatch.setattr(checkpoint, "SCRUB_PAUSE_S", 0.0)
        async with SqliteDatabase(path) as database:
            store = database.store
            secrets = [[self.SECRET * 200], [self.SECRET], [self.SECRET]]
            await write_sealed(store, "s", *secrets, keeps_content=how != "keeps no content")
            await write(store, "other", [b"x"])
            if how == "erase":
                await store.erase(S)
            elif how == "trim":
                await store.trim(ended_before=1e9, max_bytes=PAGE)
            await eventually(lambda: not any(self.SECRET in data for data in contents(path.parent).values()))
            assert await read_all(store, "other") == [b"x"]

    async def test_long_interleaved_logs_are_swept_and_others_stay_whole(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(logs, "SWEEP_SEGMENTS", 7)
        names = ["a", "kept", "b", "c"]
        async with SqliteDatabase(path) as database:
            store = database.store
            await store.commit(Batch([opening(name) for name in names]))
            for at in range(50):
                await store.commit(Batch(appends=[append(name, at, b"%d" % at) for name in names]))
            await store.commit(Batch(seals=[seal("a", 50)]))
            await store.trim(ended_before=1e9, max_bytes=PAGE)
            for name in ("b", "c"):
                await store.erase(StreamId(name))
            assert await read_all(store, "kept") == [b"%d" % at for at in range(50)]
        assert query(path, "SELECT count(*) FROM segment") == [50]
        assert query(path, "SELECT count(*) FROM garbage") == [0]

    async def test_a_sweep_that_a_crash_cut_short_is_finished_by_the_next_process(self, path: Path) -> None:
        async with SqliteDatabase(path) as database:
            await write_sealed(database.store, "s", [b"0"], [b"1"])
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("INSERT INTO garbage SELECT tail FROM log")
            connection.execute("DELETE FROM log")
        async with SqliteDatabase(path):
            pass
        assert query(path, "SELECT count(*) FROM segment") == [0]

    async def test_a_sweep_that_fails_is_taken_up_again(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(logs, "_DELETE_DOOMED", "DELETE FROM no_such_table")
        async with SqliteDatabase(path) as database:
            await write_sealed(database.store, "s", [b"0"])
            assert await database.store.erase(S)
            await write(database.store, "t", [b"x"])
            monkeypatch.undo()
            await database.store.commit(Batch(appends=[append("t", 1, b"y")]))
        assert query(path, "SELECT count(*) FROM segment") == [2]


async def test_a_write_waits_for_another_process_that_is_writing(path: Path) -> None:
    async with SqliteDatabase(path) as database:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            future = database.store.commit(Batch([opening("s")]))
            started = time.monotonic()
            await asyncio.sleep(0.05)
            assert not future.done()
            other.execute("COMMIT")
        await future
        assert time.monotonic() - started < 5
