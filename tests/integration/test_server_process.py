"""Stories of a real model-execution process over its socket."""

import asyncio
import hashlib
import json
import signal
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from tests.support.encoder_models import (
    ADAPTERS,
    DEVICE,
    dense,
    minilm,
    random_tokens,
    text_tokens,
)
from tests.support.model_server import Client, ModelServer, connected, model_server
from tests.support.polling import until
from tests.support.sameness import assert_same

from sie_schemas import ipc
from sie_schemas.errors import OurFault
from sie_schemas.jobs import AdapterPin
from sie_schemas.revisions import profile_config
from sie_server.device.bounded_threads import BoundedThreads
from sie_server.execution.execution import Execution
from sie_server.socket.server import Server
from sie_worker.forms.tokenizing import Tokenizer

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

_DOCUMENTS = {
    document["model_id"]: document
    for document in json.loads((ADAPTERS.parent / "models.json").read_text())
}
MINILM = profile_config(_DOCUMENTS["sentence-transformers/all-MiniLM-L6-v2"], "default")
RERANKER = profile_config(_DOCUMENTS["cross-encoder/ms-marco-MiniLM-L-12-v2"], "default")
ENTITIES = profile_config(_DOCUMENTS["spacy/en_core_web_sm"], "default")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory):
    """One process for the stories that leave it as it was."""
    folder = tmp_path_factory.mktemp("server")
    async with model_server(folder, "--frame-bytes-max", "1000000") as running:
        yield running


def _adapter_config(name: str) -> dict[str, object]:
    return {
        "source": {"type": "path", "path": str(ADAPTERS / name), "manifest": _manifest(name)},
        "model_id": "sentence-transformers/all-MiniLM-L6-v2",
        "name": name,
    }


def _manifest(name: str) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (ADAPTERS / name).iterdir()
    }


def _load_with(value: bytes) -> bytes:
    """The frame of a load whose config holds some encoded value."""
    frame = ipc.encode(ipc.Load(id=1, revision="r", config={"source": "XX"}))
    body = frame[ipc.FRAME_HEADER.size :].replace(b"\xa2XX", value)
    return ipc.FRAME_HEADER.pack(len(body)) + body


def _vectors(done: ipc.BatchDone) -> np.ndarray:
    assert isinstance(done.answers, ipc.DenseAnswers)
    return np.frombuffer(done.answers.values, "<f4").reshape(-1, done.answers.dim)


async def test_the_three_demonstration_models_load_and_answer(server: ModelServer):
    async with connected(server) as client:
        loaded = await client.load("m", MINILM, ipc.Loaded)
        assert (loaded.accepts, loaded.execution, loaded.reason) == ("tokens", "packed", "")
        assert (loaded.dims, loaded.max_sequence_length) == ({"dense": 384}, 256)
        texts = text_tokens("a cat sat", "the stock market fell sharply today")
        done = await client.run("m", "encode", texts, ipc.BatchDone)
        assert_same(_vectors(done), dense(minilm(), texts))

        ranker = await client.load("r", RERANKER, ipc.Loaded)
        assert (ranker.accepts, ranker.batch_invariant) == ("tokens", False)
        question = "how many people live in Berlin?"
        pairs = Tokenizer.read(ranker).pairs(question, ["3.5 million live there", "a tower"])
        scored = await client.run("r", "score", pairs, ipc.BatchDone)
        assert isinstance(scored.answers, ipc.ScoreAnswers)
        right, wrong = np.frombuffer(scored.answers.values, "<f4")
        assert right > wrong + 5

        await client.load("n", ENTITIES, ipc.Loaded)
        text = ipc.TextInput("Tim Cook visited Berlin.")
        found = await client.run("n", "extract", [text], ipc.BatchDone, labels=("GPE",))
        assert isinstance(found.answers, ipc.EntityAnswers)
        assert found.answers.entities == (
            ({"text": "Berlin", "label": "GPE", "score": 1.0, "start": 17, "end": 23},),
        )


async def test_an_adapter_applies_once_loaded_and_an_unknown_one_is_an_error(server: ModelServer):
    async with connected(server) as client:
        await client.load("m", MINILM, ipc.Loaded)
        texts = text_tokens("a lease ends at midnight")
        unknown = AdapterPin("legal", "another")
        refused = await client.run("m", "encode", texts, ipc.Failed, adapter=unknown)
        assert refused.code == "ADAPTER_NOT_FOUND"
        legal = AdapterPin("legal", "1")
        request = ipc.LoadAdapter(
            id=client.next_id(),
            model_revision="m",
            adapter=legal,
            config=_adapter_config("legal"),
        )
        assert (await client.ask(request, ipc.AdapterLoaded)).adapter == legal
        adapted = await client.run("m", "encode", texts, ipc.BatchDone, adapter=legal)
        assert_same(_vectors(adapted), dense(minilm(), texts, "legal"))
        base = await client.run("m", "encode", texts, ipc.BatchDone)
        assert_same(_vectors(base), dense(minilm(), texts))


async def test_batches_run_while_an_adapter_is_being_read(server: ModelServer, tmp_path: Path):
    folder = tmp_path / "adapter"
    folder.mkdir()
    # Nothing on the disk, and seconds to hash.
    with (folder / "adapter_model.safetensors").open("wb") as weights:
        weights.truncate(1 << 30)
    source = {
        "type": "path",
        "path": str(folder),
        "manifest": {"adapter_model.safetensors": "0" * 64},
    }
    async with connected(server) as client:
        await client.load("m", MINILM, ipc.Loaded)
        request = ipc.LoadAdapter(
            id=client.next_id(),
            model_revision="m",
            adapter=AdapterPin("slow", "1"),
            config={**_adapter_config("legal"), "source": source},
        )
        client.send(request)
        texts = text_tokens("a lease ends at midnight")
        # Replies come as they are made: this one is the first.
        done = await client.run("m", "encode", texts, ipc.BatchDone)
        assert_same(_vectors(done), dense(minilm(), texts))

        refused = await client.next_reply()
        assert isinstance(refused, ipc.Failed)
        assert (refused.id, refused.code) == (request.id, "ADAPTER_LOAD_FAILED")
        assert "the manifest says" in refused.message


@pytest.mark.parametrize(
    "raw",
    [
        ipc.FRAME_HEADER.pack(5) + b"\xc1junk",
        ipc.FRAME_HEADER.pack(2) + b"\x80\x80",
        ipc.FRAME_HEADER.pack(7) + b"\x81\xa4type\xa1",
        _load_with(b"\xa2\xff\xff"),
        _load_with(b"\x91" * 50_000 + b"\xc0"),
        ipc.FRAME_HEADER.pack(1_000_001),
        b"\xff\xff\xff\xff",
    ],
    ids=[
        "not-msgpack",
        "not-one-message",
        "cut-short",
        "not-utf-8",
        "too-deep",
        "oversize",
        "oversize-by-far",
    ],
)
async def test_a_frame_that_cannot_be_read_closes_only_its_connection(server: ModelServer, raw):
    async with connected(server) as other, connected(server) as bad:
        lines = server.log.read_text().count("\n")
        bad.send_bytes(raw)
        with pytest.raises(asyncio.IncompleteReadError):
            await bad.next_reply()
        assert await other.ask(ipc.Ping(other.next_id()), ipc.Pong)
        await until(lambda: server.log.read_text().count("\n") == lines + 1)
        assert "unreadable frame" in server.log.read_text().splitlines()[-1]


async def test_two_connections_share_the_models_and_get_their_own_replies(server: ModelServer):
    async with connected(server) as one, connected(server) as two:
        await one.load("m", MINILM, ipc.Loaded)
        texts = {one: random_tokens([5, 9], seed=1), two: random_tokens([30, 2, 7], seed=2)}

        async def ask_often(client: Client) -> None:
            expected = dense(minilm(), texts[client])
            for _ in range(5):
                done = await client.run("m", "encode", texts[client], ipc.BatchDone)
                assert_same(_vectors(done), expected)

        async with asyncio.TaskGroup() as group:
            group.create_task(ask_often(one))
            group.create_task(ask_often(two))


async def test_a_ping_is_answered_while_the_device_is_busy(server: ModelServer):
    async with connected(server) as client:
        await client.load("m", MINILM, ipc.Loaded)
        long = ipc.RunBatch(
            id=1000,
            model_revision="m",
            operation="encode",
            inputs=tuple(random_tokens([256] * 20)),
        )
        client.send(long)
        client.send(ipc.Ping(1001))
        assert [(await client.next_reply()).id for _ in range(2)] == [1001, 1000]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            {"type": "path", "path": "/nonexistent/model", "manifest": {"a": "0" * 64}},
            ["/nonexistent/model", "does not exist", "put the weights there"],
        ),
        ({**MINILM["source"], "version": "9.9.9"}, ["installed at 0.1.0", "==9.9.9"]),
        (
            {**MINILM["source"], "manifest": {"model.safetensors": "0" * 64}},
            ["model.safetensors", "SHA-256", "the manifest says 000000000000"],
        ),
        (
            {**MINILM["source"], "manifest": {"config.json": "f" * 64}},
            ["config.json", "SHA-256"],
        ),
        ({**MINILM["source"], "path": "nowhere"}, ["nowhere", "correct the source's `path`"]),
        ({"type": "hub", "id": "a/b", "revision": "main"}, ["config is not valid", "hub.revision"]),
    ],
    ids=["no-folder", "other-version", "weights-changed", "config-changed", "no-path", "no-pin"],
)
async def test_a_source_that_fails_is_told_with_its_reason_and_the_process_lives(
    server: ModelServer, source, words
):
    async with connected(server) as client:
        failed = await client.load("bad", {**MINILM, "source": source}, ipc.Failed)
        assert failed.code == "MODEL_LOAD_FAILED"
        assert [word for word in words if word not in failed.message] == [], failed.message
        later = await client.run("bad", "encode", random_tokens([3]), ipc.Failed)
        assert later.code == "MODEL_LOADING"


async def test_a_backend_that_nobody_registered_is_told_with_those_that_are(server: ModelServer):
    config = {**MINILM, "profile": {**MINILM["profile"], "backend": "os.system"}}
    async with connected(server) as client:
        # An import path is not even a name: nothing of that kind is registered.
        assert (await client.load("x", config, ipc.Failed)).code == "MODEL_LOAD_FAILED"
        config["profile"] = {"backend": "glossary"}
        failed = await client.load("x", config, ipc.Failed)
        assert "no backend named glossary" in failed.message
        assert "cross-encoder, echo, " in failed.message
        assert "spacy, text-classification, token-classification" in failed.message


async def test_an_unloaded_model_is_gone_and_can_be_loaded_again(server: ModelServer):
    async with connected(server) as client:
        await client.load("again", ENTITIES, ipc.Loaded)
        await client.ask(ipc.Unload(client.next_id(), "again"), ipc.Pong)
        text = [ipc.TextInput("Berlin")]
        assert (await client.run("again", "extract", text, ipc.Failed)).code == "MODEL_LOADING"
        await client.load("again", ENTITIES, ipc.Loaded)
        await client.run("again", "extract", text, ipc.BatchDone)


def _server_on(path: Path) -> Server:
    return Server(
        path=path,
        hello=ipc.Hello(pid=1, device="cpu", backends=()),
        device=BoundedThreads(queue_max=1),
        beside=BoundedThreads(queue_max=1),
        loading=BoundedThreads(queue_max=1),
        execution=Execution(DEVICE, memory_bytes_max=0),
        frame_bytes_max=1000,
        drain_s=1.0,
        batch_hang_s=0.0,
        load_hang_s=0.0,
        downloading=dict,
    )


async def test_the_socket_of_a_living_process_is_not_taken_over(server: ModelServer):
    with pytest.raises(OurFault, match="served by another process"):
        await _server_on(server.socket).run(asyncio.Event())
    async with connected(server) as client:
        assert await client.ask(ipc.Ping(client.next_id()), ipc.Pong)


async def test_a_file_in_the_place_of_the_socket_is_not_removed(tmp_path: Path):
    (tmp_path / "log.sqlite").write_text("dear")
    with pytest.raises(OurFault, match="no socket"):
        await _server_on(tmp_path / "log.sqlite").run(asyncio.Event())
    assert (tmp_path / "log.sqlite").read_text() == "dear"


async def _batches_only(client: Client) -> None:
    await client.ask(ipc.Batches(client.next_id()), ipc.Pong)


async def test_batches_run_in_order_on_their_own_connection_beside_pings_and_loads(
    server: ModelServer,
):
    async with connected(server) as client, connected(server) as batches:
        await client.load("m", MINILM, ipc.Loaded)
        await _batches_only(batches)
        texts = random_tokens([5, 9], seed=1)
        assert_same(
            _vectors(await batches.run("m", "encode", texts, ipc.BatchDone)),
            dense(minilm(), texts),
        )
        for number in (1001, 1002, 1003):
            batches.send(_long_batch(number))
        assert await client.ask(ipc.Ping(client.next_id()), ipc.Pong)
        await client.load("m", MINILM, ipc.Loaded)
        assert [(await batches.next_reply()).id for _ in range(3)] == [1001, 1002, 1003]


async def test_an_adapter_that_was_not_loaded_is_an_error_on_a_connection_of_batches_too(
    server: ModelServer,
):
    async with connected(server) as client, connected(server) as batches:
        await client.load("m", MINILM, ipc.Loaded)
        await _batches_only(batches)
        unknown = AdapterPin("nobody", "r1")
        text = random_tokens([5])
        failed = await batches.run("m", "encode", text, ipc.Failed, adapter=unknown)
        assert failed.code == "ADAPTER_NOT_FOUND"


@pytest.mark.parametrize("raw", [ipc.FRAME_HEADER.pack(1_000_001), ipc.encode(ipc.Ping(1))])
async def test_what_is_no_batch_ends_a_connection_of_batches_and_no_other(
    server: ModelServer, raw: bytes
):
    async with connected(server) as other, connected(server) as bad:
        await _batches_only(other)
        await _batches_only(bad)
        bad.send_bytes(raw)
        with pytest.raises(asyncio.IncompleteReadError):
            await bad.next_reply()
        assert "a connection is closed" in server.log.read_text().splitlines()[-1]
        await other.run("nothing", "encode", random_tokens([3]), ipc.Failed)


def _long_batch(number: int) -> ipc.RunBatch:
    inputs = tuple(random_tokens([128] * 12))
    return ipc.RunBatch(id=number, model_revision="m", operation="encode", inputs=inputs)


async def test_a_killed_process_is_replaced_on_its_stale_socket_and_that_one_drains_on_sigterm(
    tmp_path: Path,
):
    async with model_server(tmp_path, "--queue-max", "2") as server, connected(server) as client:
        await client.load("m", MINILM, ipc.Loaded)
        for number in (101, 102, 103):
            client.send(_long_batch(number))
        refused = await client.next_reply()
        assert isinstance(refused, ipc.Failed)
        assert (refused.id, refused.code) == (103, "QUEUE_FULL")
        server.process.kill()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await client.next_reply()
        assert server.socket.exists()
    async with (
        model_server(tmp_path) as again,
        connected(again) as client,
        connected(again) as batches,
    ):
        lost = await client.run("m", "encode", random_tokens([3]), ipc.Failed)
        assert lost.code == "MODEL_LOADING"
        await client.load("m", MINILM, ipc.Loaded)
        await _batches_only(batches)
        batches.send(_long_batch(106))
        client.send(_long_batch(107))
        # The pong proves that the batch before it was accepted.
        client.send(ipc.Ping(108))
        assert (await client.next_reply()).id == 108
        again.process.send_signal(signal.SIGTERM)
        reply = await client.next_reply()
        assert isinstance(reply, ipc.BatchDone)
        assert reply.id == 107
        assert (await batches.next_reply()).id == 106
        assert await again.process.wait() == 0
        assert not again.socket.exists()


async def test_a_batch_that_hangs_the_device_ends_the_process_which_says_where_it_was(
    tmp_path: Path,
):
    async with (
        model_server(tmp_path, "--batch-hang-s", "0.2") as server,
        connected(server) as client,
    ):
        await client.load("m", MINILM, ipc.Loaded)
        inputs = tuple(random_tokens([256] * 200))
        client.send(ipc.RunBatch(id=7, model_revision="m", operation="encode", inputs=inputs))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await client.next_reply()
        assert await server.process.wait() == 70
        said = server.log.read_text()
        assert "the device hangs" in said
        assert "memory_ladder.py" in said, "the stack of the device's thread"
