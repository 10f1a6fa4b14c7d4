"""A writer that lost entries: who gives them back, and what it does until then."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import msgspec
import pytest
from tests.support.config_writer import model, put
from tests.support.log_tools import run_log
from tests.support.log_world import admin, connected, follower, nowhere, same, writer
from tests.support.nats import nats_server
from tests.support.polling import until
from tests.support.reports import report_at

from sie_config.keys.key_file import key_path
from sie_config.offline.backup import back_up
from sie_config.offline.doctor import examine
from sie_config.writer.writer_state import Recovery, Serving
from sie_runtime.streams.log_stream import log_streams
from sie_schemas.fleet import REPORT_DECODER, ReplicaReport
from sie_testing.contracts.memory_stream import MemoryStream
from sie_testing.signing import STRANGER

pytestmark = pytest.mark.integration


@pytest.fixture
async def url(tmp_path):
    async with nats_server(tmp_path / "nats") as url:
        yield url


async def old_and_lost(tmp_path: Path, url: str, **large) -> tuple[Path, Path, int]:
    """A backup of a log, the folder of a replica that went on after it, and where that stands."""
    data, old, files = tmp_path / "data", tmp_path / "old", tmp_path / "replica"
    async with writer(data, url) as one, follower(url, one.url, files) as replica:
        await one.put("before")
        await same(one, replica)
    shutil.copytree(data, old)
    async with writer(data, url) as one, follower(url, one.url, files) as replica:
        await one.put("a", "b")
        await put(one.plane, "c", **large)
        await same(one, replica)
        return old, files, replica.epoch


async def wipe(url: str) -> None:
    async with connected(url, "config") as bus, admin(url) as jetstream:
        assert await bus.wait_connected(5)
        for log_id in await log_streams(bus):
            await jetstream.delete_stream(f"CFG_{log_id}")


async def test_a_roll_call_is_answered_at_once(tmp_path, url):
    async with (
        writer(tmp_path / "data", url) as one,
        # It does not speak by itself.
        follower(url, one.url, replica_report_s=600) as replica,
        connected(url, "config") as bus,
    ):
        await same(one, replica)
        heard: list[ReplicaReport] = []
        await bus.subscribe(
            "sie.config.report.>",
            lambda message: heard.append(REPORT_DECODER.decode(message.data)),
        )
        assert await bus.wait_connected(5)
        await until(lambda: replica.follower.state == "fresh")

        await bus.publish("sie.config.rollcall", b"{}")

        await until(lambda: any(report.epoch == replica.epoch for report in heard))


async def test_a_restored_file_gets_its_entries_back_from_the_stream(tmp_path, url):
    old, _, head = await old_and_lost(tmp_path, url)
    async with writer(tmp_path / "data", url) as one:
        await one.published()
        head = one.plane.sequencer.position.epoch

    async with writer(old, url) as one:
        assert one.plane.sequencer.state == Serving(witnessed=True)
        assert one.plane.sequencer.position.epoch == head + 1
        assert {"a", "b", "c"} <= {e.key for e in one.plane.sequencer.registry.of_kind("model")}


_RECOVER = Path(__file__).parents[2] / "docs" / "operations" / "recover.md"


def typed_by(page: str, heading: str, folder: Path, **words: str) -> None:
    """Type what stands in the block below a heading, but what begins or ends a whole cluster."""
    block = page.partition(f"### {heading}\n")[2].partition("```sh\n")[2].partition("```")[0]
    first, *lines, last = block.splitlines()
    assert (first, last) == ("sie down", "sie up --detach")
    text = "\n".join(lines)
    for word, meant in words.items():
        text = text.replace(word, meant)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SIE_")}
    subprocess.run(
        ["sh", "-ec", text], cwd=folder, env=environ | {"PATH": path}, check=True, timeout=60
    )


async def test_a_damaged_log_is_restored_by_what_the_page_says_and_lacks_nothing(tmp_path, url):
    data = tmp_path / ".sie" / "config"
    async with writer(data, url) as one:
        await one.put("before")
        backup, _ = back_up(data / "log.sqlite", tmp_path)
        await put(one.plane, "after", description="text-of-after")
        await one.published()
        head = one.plane.sequencer.position
    file = data / "log.sqlite"
    file.write_bytes(file.read_bytes().replace(b"text-of-after", b"text-of-aftep"))
    async with writer(data, url) as one:
        assert isinstance(one.plane.sequencer.state, Recovery), "the damage is seen"

    page = _RECOVER.read_text()
    await asyncio.to_thread(typed_by, page, "Restore a damaged log", tmp_path, BACKUP=str(backup))

    # It has to reach the broker before it begins: nothing else tells it what the backup lacks.
    async with writer(data, url, roll_call_s=0.5) as one:
        assert one.plane.sequencer.state == Serving(witnessed=True)
        assert one.plane.sequencer.position.epoch == head.epoch + 1
        again = await one.plane.journal.entry(head.epoch)
        assert again is not None and again.hash == head.hash
        report = await asyncio.to_thread(examine, file, url=one.url, bus=None)
        assert report.sound, report


async def test_a_log_whose_key_is_lost_goes_on_by_what_the_page_says(tmp_path, url):
    data = tmp_path / ".sie" / "config"
    async with writer(data, url) as one:
        await one.put("kept")
        await one.published()
        head = one.plane.sequencer.position
    key_path(data / "log.sqlite").unlink()

    words = {"BACKUP": str(tmp_path / "backup"), "HEAD": str(head.epoch)}
    page = _RECOVER.read_text()
    await asyncio.to_thread(typed_by, page, "The key is lost", tmp_path, **words)

    async with writer(data, url) as one:
        assert isinstance(one.plane.sequencer.state, Serving)
        assert one.plane.sequencer.position.log_id != head.log_id
        assert one.plane.sequencer.registry.get("model", "kept") is not None


async def test_with_the_stream_wiped_it_gets_them_back_from_a_replicas_tail(tmp_path, url):
    old, files, head = await old_and_lost(tmp_path, url)
    await wipe(url)

    # The writer's address is not known yet: this replica lives by its files.
    async with follower(url, "http://127.0.0.1:1", files) as replica, writer(old, url) as one:
        assert one.plane.sequencer.state == Serving(witnessed=True)
        assert one.plane.sequencer.position.epoch == head + 1
        await one.put("after")
        # And the replica, which never reached it over HTTP, follows on the new stream.
        await same(one, replica)


async def test_an_entry_that_is_longer_than_a_message_comes_back_in_parts(tmp_path, url):
    profile = {"backend": "transformer", "options": {f"o{n}": "x" * 4096 for n in range(64)}}
    old, files, head = await old_and_lost(tmp_path, url, profiles={"default": profile})
    await wipe(url)

    async with (
        follower(url, "http://127.0.0.1:1", files, replica_tail_bytes_max=50_000),
        writer(old, url) as one,
    ):
        assert one.plane.sequencer.position.epoch == head + 1
        assert isinstance(one.plane.sequencer.state, Serving)


async def test_while_nobody_has_them_it_writes_nothing_and_the_one_who_comes_later_heals_it(
    tmp_path, url
):
    old, files, head = await old_and_lost(tmp_path, url)
    await wipe(url)
    # Somebody knows that they existed, and has none of them.
    shutil.copy(tmp_path / "data" / "log.sqlite.head", old / "log.sqlite.head")

    async with writer(old, url) as one:
        assert isinstance(one.plane.sequencer.state, Recovery)
        assert one.plane.sequencer.state.lacking == head
        refused = await one.http.post("/v1/configs/models", json=model("m"))
        assert refused.json()["detail"]["code"] == "LOG_RECOVERY"
        assert (await one.http.get("/v1/configs/models/before")).status_code == 200
        assert (await one.http.get("/readyz")).status_code == 503

        async with follower(url, one.url, files) as replica:
            await until(lambda: isinstance(one.plane.sequencer.state, Serving))
            assert (await one.http.post("/v1/configs/models", json=model("m"))).status_code == 201
            await same(one, replica)
            await one.published()


async def test_without_a_broker_a_replica_that_has_seen_more_stops_the_writer_over_http(tmp_path):
    nats = nowhere()
    old, files, head = await old_and_lost(tmp_path, nats)

    # Nobody could be asked at the start, so it took the file for the newest.
    async with writer(old, nats) as one:
        assert one.plane.sequencer.state == Serving(witnessed=False)
        async with follower(nats, one.url, files) as replica:
            await until(lambda: isinstance(one.plane.sequencer.state, Recovery))
            assert f".{head}" in one.reason
            assert replica.epoch == head
            refused = await one.http.post("/v1/configs/models", json=model("m"))
            assert refused.json()["detail"]["code"] == "LOG_RECOVERY"


@pytest.mark.parametrize("cure", ["the broker stores again", "the broker goes away"])
async def test_with_the_bus_up_no_write_is_taken_before_the_term_is_on_the_stream(tmp_path, cure):
    stream = MemoryStream()
    # A broker that answers and stores nothing.
    stream.connected = False
    async with contextlib.AsyncExitStack() as stack:
        async with nats_server(tmp_path / "nats") as url:
            one = await stack.enter_async_context(writer(tmp_path / "d", url, stream=stream))
            refused = await one.http.post("/v1/configs/models", json=model("m"))
            assert (refused.status_code, refused.json()["detail"]["code"]) == (503, "LOG_READ_ONLY")
            assert "term" in one.reason
            assert (await one.http.get("/v1/configs/models")).status_code == 200
            if cure == "the broker stores again":
                stream.connected = True
                await until(lambda: one.plane.sequencer.state == Serving(witnessed=False))
                assert len(stream.messages) == 3
        await until(lambda: one.plane.sequencer.state == Serving(witnessed=False))
        assert (await one.http.post("/v1/configs/models", json=model("m"))).status_code == 201


async def test_of_two_histories_an_operator_keeps_one_and_the_log_says_what_was_given_up(
    tmp_path, url
):
    old, files, lost = await old_and_lost(tmp_path, url)
    async with writer(old, nowhere()) as one:
        await one.put("own")
        head = one.plane.sequencer.position.epoch
    backup = ("restore", tmp_path / "b", tmp_path / "new", "--nats-url", url)
    assert (await asyncio.to_thread(run_log, "backup", tmp_path / "b", old))[0] == 0

    status, refusal = await asyncio.to_thread(run_log, *backup)
    assert status == 1
    assert f".{head - 1} with another hash" in refusal, "not where they part"
    keep = ("--discard-after", str(head))
    (tmp_path / "new").mkdir(exist_ok=True)
    shutil.copy(old / "log.sqlite.key", tmp_path / "new")
    assert (await asyncio.to_thread(run_log, *backup, *keep))[0] == 0

    async with (
        writer(tmp_path / "new", url) as one,
        follower(url, one.url, files) as replica,
    ):
        [_, begin] = one.plane.sequencer.lineage
        assert begin.changes[0].supersedes is not None
        assert begin.changes[0].supersedes.lost == (head - 1, lost)
        # The one that had the other history follows the log that supersedes it.
        await same(one, replica)
        assert "own" in replica.follower.resolver.models


async def test_a_file_of_before_the_log_that_superseded_it_is_not_written_on(tmp_path, url):
    data, new = tmp_path / "data", tmp_path / "new"
    async with writer(data, url) as one:
        await one.put("a")
        await one.published()
        head = one.plane.sequencer.position.epoch
    assert (await asyncio.to_thread(run_log, "backup", tmp_path / "b", data))[0] == 0
    restored = ("restore", tmp_path / "b", new, "--nats-url", url, "--discard-after", str(head))
    new.mkdir()
    shutil.copy(data / "log.sqlite.key", new)
    assert (await asyncio.to_thread(run_log, *restored))[0] == 0
    async with writer(new, url) as one:
        await one.put("b")
        await one.published()
        newer = one.plane.sequencer.position.log_id

    async with writer(data, url) as one:
        assert isinstance(one.plane.sequencer.state, Recovery)
        assert f"log {newer[:8]}, which supersedes this one" in one.reason
        refused = await one.http.post("/v1/configs/models", json=model("m"))
        assert refused.json()["detail"]["code"] == "LOG_RECOVERY"
    async with writer(new, url) as one:
        assert isinstance(one.plane.sequencer.state, Serving)


JSON = {"content-type": "application/json"}


async def post(http: httpx.AsyncClient, **report) -> httpx.Response:
    fields = {
        "role": "worker",
        "id": "w1",
        "digest": "d" * 64,
        "received": 9,
        "state": "fresh",
    }
    return await http.post(
        "/v1/configs/replicas", content=msgspec.json.encode(fields | report), headers=JSON
    )


async def test_over_http_a_report_bears_witness_only_with_the_writers_signature(tmp_path):
    data, ahead = tmp_path / "data", tmp_path / "ahead"
    async with writer(data, nowhere()) as one:
        pass
    shutil.copytree(data, ahead)
    async with writer(ahead, nowhere()) as one:
        await one.put("a", "b")
        last = one.plane.sequencer.last
        assert last is not None
    told = {
        "log_id": last.log_id,
        "epoch": last.epoch,
        "hash": last.hash,
        "digest": last.state_digest,
    }
    assert last.signature is not None
    signature = msgspec.to_builtins(last.signature)
    stranger = STRANGER.sign(last.log_id, last.epoch, last.hash, last.state_digest)

    async with writer(data, nowhere()) as one:
        state = one.plane.sequencer.state
        for claim in (
            told,
            told | {"signature": signature, "epoch": last.epoch + 1},
            told | {"signature": signature, "digest": "e" * 64},
            told | {"signature": stranger},
        ):
            answer = await post(one.http, **claim)
            assert answer.status_code == 200
            assert answer.json()["epoch"] == one.plane.sequencer.position.epoch
            assert one.plane.sequencer.state is state
        # All the same it is shown.
        shown = (await one.http.get("/v1/configs/replicas")).json()["replicas"]
        assert [(row["id"], row["converged"]) for row in shown] == [("w1", False)]

        await post(one.http, **told, signature=signature)

        assert isinstance(one.plane.sequencer.state, Recovery)


async def test_what_is_no_report_is_refused_and_counted(tmp_path):
    async with writer(tmp_path, nowhere(), report_bytes_max=4096) as one:
        bad = await one.http.post("/v1/configs/replicas", content=b'{"role":"king"}', headers=JSON)
        assert (bad.status_code, bad.json()["detail"]["code"]) == (400, "INVALID_REQUEST")
        long = await one.http.post("/v1/configs/replicas", content=b" " * 5000, headers=JSON)
        assert long.json()["detail"]["code"] == "PAYLOAD_TOO_LARGE"
        assert one.plane.replicas.reports.malformed == 1


async def test_a_report_under_anothers_name_is_not_taken(tmp_path, url):
    async with writer(tmp_path, url) as one, connected(url, "worker") as bus:
        assert await bus.wait_connected(5)
        data = report_at(one.plane.head)

        await bus.publish("sie.config.report.worker.w1", data)
        await bus.publish("sie.config.report.gateway.g1", data)

        await until(lambda: one.plane.replicas_view()["live"] == 1)
        assert one.plane.replicas.reports.malformed == 1
