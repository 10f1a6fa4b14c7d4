"""Reports over HTTP from who is no replica: each of them stopped every write."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.config_process import config_process
from tests.support.config_writer import model
from tests.support.log_world import connected, nowhere, writer
from tests.support.nats import nats_server
from tests.support.polling import until_told
from tests.support.reports import report_at
from tests.support.tokens import bearer, tokens_file

from sie_runtime.broker.bus import Bus
from sie_schemas.entry import build_entry, parse_envelope
from sie_schemas.fleet import HEAD_DECODER, Head
from sie_testing.signing import STRANGER

pytestmark = pytest.mark.integration

CONFIGS = "/v1/configs"
JSON = {"content-type": "application/json"}


OTHERS = {"viewer": ("read",), "caller": ("infer",), "bot": ("propose",), "boss": ("admin",)}
W1 = {"w1": {"roles": ("read", "report"), "replica": "worker/w1"}}


@asynccontextmanager
async def closed(folder: Path, **more: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A sie-config that asks for tokens, with a model in its log."""
    told = ("--auth-file", str(tokens_file(folder / "tokens.json", **OTHERS, **more)))
    async with config_process(folder / "data", nowhere(), *told) as (_, client):
        made = await client.post(f"{CONFIGS}/models", json=model("m"), headers=bearer("boss"))
        assert made.status_code == 201
        yield client


async def head_of(client: httpx.AsyncClient, name: str | None = None) -> Head:
    return HEAD_DECODER.decode((await client.get(f"{CONFIGS}/epoch", headers=bearer(name))).content)


async def post(client: httpx.AsyncClient, data: bytes, name: str | None = None) -> httpx.Response:
    return await client.post(f"{CONFIGS}/replicas", content=data, headers=JSON | bearer(name))


async def written(client: httpx.AsyncClient, name: str | None = None) -> httpx.Response:
    return await client.post(f"{CONFIGS}/models", json=model("n"), headers=bearer(name))


async def invented(client: httpx.AsyncClient, name: str | None = None) -> list[bytes]:
    """Reports of an entry that somebody made, hashed and signed: one ahead of the log, and one in
    the place of its last."""
    head = await head_of(client, name)
    answer = await client.get(f"{CONFIGS}/entries/{head.epoch}", headers=bearer(name))
    last = parse_envelope(answer.content)
    made = []
    for epoch, prev in ((head.epoch + 1, head.hash), (head.epoch, last.prev_hash)):
        entry = build_entry(
            log_id=head.log_id,
            epoch=epoch,
            term=head.term,
            writer="0" * 16,
            ts="2026-01-01T00:00:00.000000Z",
            actor="admin",
            reason="invented",
            request_id="x",
            changes=[],
            prev_hash=prev,
            state_digest=head.digest,
        )
        entry = STRANGER.signed(entry)
        told = {"epoch": epoch, "received": epoch, "hash": entry.hash}
        made.append(report_at(head, signature=entry.signature, **told))
    return made


async def test_who_may_only_read_reports_nothing(tmp_path: Path) -> None:
    async with closed(tmp_path) as client:
        head = await head_of(client, "viewer")
        forged = [
            report_at(head, id="x", role="worker", speaks=("nothing",)),
            *await invented(client, "viewer"),
        ]
        for name in ("viewer", "caller", "bot", "boss", None):
            for data in forged:
                assert (await post(client, data, name)).status_code in {401, 403}
        rows = (await client.get(f"{CONFIGS}/replicas", headers=bearer("viewer"))).json()
        assert rows["replicas"] == []
        answer = await written(client, "boss")
        assert answer.status_code == 201, answer.text


async def test_a_replicas_token_speaks_for_that_replica_alone(tmp_path: Path) -> None:
    async with closed(tmp_path, **W1) as client:
        head = await head_of(client, "w1")
        for other in ({"id": "w2"}, {"role": "gateway"}, {"id": "w1x"}):
            told = {"role": "worker", "id": "w1", "speaks": ("nothing",)} | other
            refused = await post(client, report_at(head, **told), "w1")
            assert refused.status_code == 403
            assert "--replica" in refused.json()["detail"]["message"]
        assert (await written(client, "boss")).status_code == 201

        # What it says of itself is kept, and holds up no change that every release reads.
        head = await head_of(client, "w1")
        lacks = report_at(head, role="worker", id="w1", speaks=("nothing",))
        assert (await post(client, lacks, "w1")).status_code == 200
        rows = (await client.get(f"{CONFIGS}/replicas", headers=bearer("viewer"))).json()
        assert [row["speaks"] for row in rows["replicas"]] == [["nothing"]]
        gone = await client.delete(f"{CONFIGS}/models/n", headers=bearer("boss"))
        assert gone.status_code == 200, gone.text


async def test_a_worker_that_says_on_the_bus_that_it_reads_nothing_stops_no_write(
    tmp_path: Path,
) -> None:
    async with (
        nats_server(tmp_path / "nats") as url,
        writer(tmp_path / "data", url) as one,
        connected(url, "worker") as bus,
    ):
        await said(bus, one.plane.head, speaks=("nothing",))

        async def is_heard() -> bool:
            rows = (await one.http.get(f"{CONFIGS}/replicas")).json()["replicas"]
            return [row["speaks"] for row in rows] == [["nothing"]]

        await until_told(is_heard)
        answer = await written(one.http)
        assert answer.status_code == 201, answer.text


async def test_where_all_is_open_nobody_in_particular_stops_a_write(tmp_path: Path) -> None:
    async with config_process(tmp_path, nowhere()) as (_, client):
        head = await head_of(client)
        lacks = report_at(head, id="x", role="worker", speaks=("nothing",))
        assert (await post(client, lacks)).status_code == 200
        answer = await written(client)
        assert answer.status_code == 201, answer.text
        rows = (await client.get(f"{CONFIGS}/replicas")).json()["replicas"]
        assert [row["id"] for row in rows] == ["x"], "it is shown all the same"


async def test_a_report_is_bounded_and_a_flood_of_names_pushes_nobody_out(tmp_path: Path) -> None:
    async with config_process(tmp_path, nowhere(), "--replicas-max", "20") as (_, client):
        head = await head_of(client)
        for field, value in {
            "id": "x" * 65,
            "life": "x" * 1000,
            "log_id": "x" * 40,
            "hash": "z",
            "epoch": -1,
            "received": 2**60,
            "speaks": ("model.put",) * 65,
            "traffic": {"m": -(10**9)},
        }.items():
            refused = await post(client, report_at(head, **{field: value}))
            assert refused.status_code == 422, f"{field}: {refused.text}"
            assert refused.json()["detail"]["field"] == field
        assert (await post(client, b"[]")).status_code == 400
        for number in range(50):
            assert (await post(client, report_at(head, id=f"g{number}"))).status_code == 200
        rows = (await client.get(f"{CONFIGS}/replicas")).json()["replicas"]
        assert len(rows) == 20


async def test_who_is_known_takes_the_place_of_who_is_not(tmp_path: Path) -> None:
    async with (
        nats_server(tmp_path / "nats") as url,
        writer(tmp_path / "data", url, replicas_max=5) as one,
        connected(url, "worker") as bus,
    ):
        for number in range(5):
            assert (await post(one.http, report_at(one.plane.head, id=f"g{number}"))).is_success
        await said(bus, one.plane.head)

        async def is_shown() -> bool:
            rows = (await one.http.get(f"{CONFIGS}/replicas")).json()["replicas"]
            return "w1" in {row["id"] for row in rows}

        await until_told(is_shown)


async def said(bus: Bus, head: Head, **told: Any) -> None:
    """A worker's report on the bus."""
    assert await bus.wait_connected(5)
    await bus.publish(
        "sie.config.report.worker.w1", report_at(head, role="worker", id="w1", **told)
    )
