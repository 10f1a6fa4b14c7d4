"""The adversary of real processes in parts: its plan, its links, what it takes for right."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from sie_schemas.documents import admit_document
from sie_schemas.revisions import adapter_revision, model_revision
from sie_testing.processes import PROCESS_FAULTS, Link, actions_of
from sie_testing.processes.echo_execution import echo_vector
from sie_testing.processes.load import wrong_answer
from sie_testing.processes.proxy import WAYS
from sie_testing.processes.writes import setup_writes

STARTS = {"kill": "start", "pause": "resume", "cut": "mend", "hold": "mend", "slow": "mend"}


# ---- what it does -------------------------------------------------------------------------------


def test_a_seed_is_one_list_of_actions_and_another_seed_another():
    assert actions_of(7, steps=12, replicas=4) == actions_of(7, steps=12, replicas=4)
    assert actions_of(7, steps=12, replicas=4) != actions_of(8, steps=12, replicas=4)


def test_every_kind_of_fault_comes_up_in_twenty_seeds():
    kinds = Counter(
        action.kind
        for seed in range(20)
        for action in actions_of(seed, steps=12, replicas=4)
        if action.kind
    )
    assert set(kinds) == set(PROCESS_FAULTS)
    assert sum(kinds.values()) == 20 * 12


@pytest.mark.parametrize("seed", range(50))
def test_what_is_ended_was_begun_and_only_what_was_backed_up_is_restored(seed):
    lasting: dict[str, str] = {}
    backups = 0
    for action in actions_of(seed, steps=30, replicas=4):
        if action.verb in STARTS:
            assert action.who not in lasting
            lasting[action.who] = action.verb
        elif action.verb in STARTS.values():
            assert STARTS[lasting.pop(action.who)] == action.verb
        elif action.verb == "back up":
            backups += 1
        elif action.verb in ("restore", "lose volume"):
            assert int(action.detail) < backups
            assert "config" not in lasting
        assert len(lasting) <= 3


@pytest.mark.parametrize("kind", PROCESS_FAULTS)
def test_each_kind_alone_makes_a_plan_of_as_many_faults(kind):
    actions = actions_of(3, steps=4, replicas=4, faults=(kind,))

    assert sum(bool(action.kind) for action in actions) == 4
    assert kind in {action.kind for action in actions}


# ---- its links ----------------------------------------------------------------------------------


@asynccontextmanager
async def echoing_link() -> AsyncIterator[Link]:
    """A link to a server that sends back what it gets."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1024):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    link = Link("a>b", server.sockets[0].getsockname()[1])
    await link.open()
    try:
        yield link
    finally:
        await link.close()
        server.close()


@asynccontextmanager
async def connection(
    link: Link,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client's connection through a link."""
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_a_link_carries_bytes_and_the_end_of_a_connection():
    async with echoing_link() as link, connection(link) as (reader, writer):
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        writer.write_eof()
        assert await reader.read() == b""


async def test_a_cut_link_resets_what_is_open_and_what_is_tried_until_it_is_mended():
    async with echoing_link() as link:
        async with connection(link) as (reader, writer):
            writer.write(b"1")
            assert await reader.readexactly(1) == b"1"
            link.cut()
            with pytest.raises(ConnectionResetError):
                await reader.read()
        async with connection(link) as (reader, _):
            with pytest.raises(ConnectionResetError):
                await reader.read()
        link.mend()
        async with connection(link) as (reader, writer):
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"


@pytest.mark.parametrize("way", WAYS)
async def test_a_held_link_keeps_bytes_and_lets_them_go_in_order(way):
    async with echoing_link() as link, connection(link) as (reader, writer):
        writer.write(b"1")
        assert await reader.readexactly(1) == b"1"
        link.hold(way)
        writer.write(b"23")
        writer.write(b"4")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await reader.readexactly(1)
        link.mend()
        assert await reader.readexactly(3) == b"234"


async def test_a_link_to_nobody_resets():
    async with echoing_link() as other:
        port = other.port
    link = Link("a>nobody", port)
    await link.open()
    try:
        async with connection(link) as (reader, _):
            with pytest.raises(ConnectionResetError):
                await reader.read()
    finally:
        await link.close()


# ---- how it tells a wrong answer ----------------------------------------------------------------

_DOCUMENTS = {call.path: dict(call.body or {}) for call in setup_writes()}
REVISION = model_revision(admit_document("model", _DOCUMENTS["models/load/a"]), "default")
ADAPTER = adapter_revision(admit_document("adapter", _DOCUMENTS["adapters/load/a/legal"]))


def answer(
    *vectors: tuple[float, ...], revision: str = REVISION, adapter: str = ""
) -> httpx.Response:
    headers = {"x-sie-model-revision": revision}
    headers |= {"x-sie-adapter-revision": adapter} if adapter else {}
    items = [{"dense": {"dims": 8, "values": list(vector)}} for vector in vectors]
    return httpx.Response(200, json={"items": items}, headers=headers)


def test_right_answers_are_right():
    base = answer(echo_vector(REVISION, "", "x"), echo_vector(REVISION, "", "y"))
    adapted = answer(echo_vector(REVISION, ADAPTER, "x"), adapter=ADAPTER)

    assert wrong_answer("load/a", ["x", "y"], base, lora=False) == ""
    assert wrong_answer("load/a", ["x"], adapted, lora=True) == ""


@pytest.mark.parametrize(
    ("response", "lora", "said"),
    [
        (answer(echo_vector(REVISION, "", "y")), False, "is not that of revision"),
        (answer(echo_vector(REVISION, ADAPTER, "x")), False, "is not that of revision"),
        (answer(echo_vector(REVISION, "", "x"), adapter=ADAPTER), True, "is not that of revision"),
        (answer(echo_vector(REVISION, "", "x")), True, "adapter revision none, asked for one"),
        (answer(echo_vector("f" * 64, "", "x"), revision="f" * 64), False, "none that was ever"),
        (answer(), False, "0 answers for 1 texts"),
    ],
    ids=["text", "adapter for base", "base for adapter", "no adapter", "revision", "count"],
)
def test_a_wrong_answer_is_told_from_the_right_one(response, lora, said):
    assert said in wrong_answer("load/a", ["x"], response, lora=lora)
