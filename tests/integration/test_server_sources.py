"""Weights from a hub: a pinned revision is fetched once, and every refusal says reason and cure.

A real `sie-server` process, a mirror on loopback that speaks the hub's protocol, and a small model
made here. The cache is the test's own.
"""

import asyncio
import json
import re
import shutil
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import pytest
import pytest_asyncio
from tests.support.encoder_models import VOCABULARY, random_tokens, write_tiny
from tests.support.hub_mirror import HubMirror, hub_mirror
from tests.support.model_server import Client, connected, model_server
from tests.support.polling import until
from tests.support.sameness import assert_same
from transformers import BertConfig

from sie_core.resolver import ResolvedModel
from sie_core.stored_documents import ModelJson
from sie_schemas import ipc
from sie_schemas.documents import admit_document
from sie_schemas.errors import OurFault
from sie_schemas.revisions import model_revision
from sie_server.backends.model_files import has_own_code
from sie_server.settings import ServerSettings
from sie_server.weights.hub_cache import FolderPin
from sie_server.weights.sources import Weights
from sie_worker.execution.executor import Executor
from sie_worker.execution.models import Models

pytestmark = pytest.mark.integration

_COMMIT = "1" * 40
_OTHER = "2" * 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=64,
    )
    made = write_tiny(tmp_path_factory.mktemp("hub") / "tiny", config)
    (made / "modeling_evil.py").write_text("raise SystemExit")
    (made / "pytorch_model.bin").write_bytes(b"a pickle")
    (made / "onnx").mkdir()
    (made / "onnx/model.onnx").write_bytes(b"a graph")
    return made


def _model(name: str = "org/tiny", commit: str = _COMMIT) -> dict[str, Any]:
    return {
        "model_id": name,
        "source": {"type": "hub", "id": name, "revision": commit},
        "tasks": {"encode": {}},
        "profile": {"backend": "transformer", "options": {"pooling": "mean"}},
    }


@asynccontextmanager
async def _served(
    folder: Path, mirror: HubMirror, *flags: str, **more: str
) -> AsyncIterator[Client]:
    environment = {
        "HF_ENDPOINT": mirror.url,
        "HF_HUB_CACHE": str(folder / "cache"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        **more,
    }
    async with (
        model_server(folder, *flags, environment=environment) as server,
        connected(server) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def mirror(folder: Path) -> Iterator[HubMirror]:
    with hub_mirror() as found:
        found.repositories["org/tiny", _COMMIT] = folder
        found.repositories["org/gated", _COMMIT] = folder
        found.gated.add("org/gated")
        found.busy.add("org/busy")
        yield found


# One process for all that is asked of a hub: its start costs seconds.
@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def online(
    mirror: HubMirror, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Client, Path]]:
    home = tmp_path_factory.mktemp("online")
    async with _served(home, mirror) as client:
        yield client, home


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("config", "words"),
    [
        (_model("org/gated"), ["is gated", "HF_TOKEN"]),
        (_model("org/nothing"), ["no org/nothing on the hub", "correct the id"]),
        (_model(commit=_OTHER), [f"no commit {_OTHER}", "pin one"]),
        (_model("org/busy"), ["how often", "in 7 s", "HF_TOKEN"]),
    ],
    ids=["gated", "missing", "other-commit", "busy"],
)
async def test_what_cannot_be_fetched_is_told_with_its_reason_and_its_cure(online, config, words):
    client, _ = online
    failed = await client.load("bad", config, ipc.Failed)
    assert failed.code == "MODEL_LOAD_FAILED"
    assert [word for word in words if word not in failed.message] == [], failed.message


@pytest.mark.asyncio(loop_scope="module")
async def test_a_damaged_download_is_refused_and_removed_then_fetched_anew_and_kept(
    online, mirror, tmp_path
):
    client, home = online
    mirror.damaged.add("model.safetensors")
    failed = await client.load("r1", _model(), ipc.Failed)
    assert failed.code == "MODEL_LOAD_FAILED"
    assert "does not have the hash" in failed.message
    assert "load again" in failed.message
    mirror.damaged.clear()
    await client.load("r1", _model(), ipc.Loaded)
    fetched = {line.rsplit("/", 1)[-1] for line in mirror.asked}
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= fetched
    assert not {"modeling_evil.py", "pytorch_model.bin"} & fetched, "neither code nor pickles"
    assert "model.onnx" not in fetched, "the backend reads no graphs"
    texts = random_tokens([5, 9], vocabulary=VOCABULARY)
    first = await client.run("r1", "encode", texts, ipc.BatchDone)

    (tmp_path / "cache").symlink_to(home / "cache")
    asked = len(mirror.asked)
    async with _served(tmp_path, mirror, HF_HUB_OFFLINE="1") as offline:
        await offline.load("r1", _model(), ipc.Loaded)
        again = await offline.run("r1", "encode", texts, ipc.BatchDone)
        failed = await offline.load("r2", _model("org/other"), ipc.Failed)
    assert again.answers == first.answers
    assert failed.code == "MODEL_LOAD_FAILED"
    assert "not in the hub cache" in failed.message
    assert "HF_HUB_OFFLINE" in failed.message
    assert len(mirror.asked) == asked, "offline asks nobody"


@pytest.mark.asyncio(loop_scope="module")
async def test_graphs_are_fetched_for_a_backend_that_reads_them(online, mirror):
    client, _ = online
    onnx = {**_model(), "profile": {"backend": "onnx-cross-encoder"}, "tasks": {"score": {}}}
    # What was fetched is no graph that runs, which is the backend's to say.
    assert (await client.load("graph", onnx, ipc.Failed)).code == "MODEL_LOAD_FAILED"
    assert [line for line in mirror.asked if line.startswith("GET") and "model.onnx" in line]


@pytest.mark.parametrize("silent", [False, True], ids=["nobody-listens", "nothing-is-said"])
async def test_a_hub_that_does_not_answer_is_told_at_once(tmp_path, silent):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if silent:
            listener.listen()
        port = listener.getsockname()[1]
        async with _served(tmp_path, HubMirror(f"http://127.0.0.1:{port}")) as client:
            started = time.monotonic()
            failed = await client.load("r1", _model(), ipc.Failed)
            assert time.monotonic() - started < 20, "the library alone waits 23 s"
    assert failed.code == "MODEL_LOAD_FAILED"
    assert f"the hub at http://127.0.0.1:{port} does not answer" in failed.message
    assert "HF_ENDPOINT" in failed.message


_TOKEN = "hub-token-of-legal-5f1c"
_RENEWED = "hub-token-of-legal-77aa"


async def test_each_source_is_fetched_with_the_secret_that_it_names_and_nobody_reads_it(
    tmp_path, mirror, folder
):
    for name in ("org/legal", "org/medical"):
        mirror.repositories[name, _COMMIT] = folder
    mirror.private |= {"org/legal": _TOKEN, "org/medical": "another-token-0f"}
    file = tmp_path / "legal-token"
    file.write_text(f"{_TOKEN}\n")
    secrets = {"SIE_SECRET_LEGAL_FILE": str(file), "SIE_SECRET_MEDICAL": "another-token-0f"}
    said = []

    def named(name: str, secret: str) -> dict[str, Any]:
        config = _model(name)
        return config | {"source": config["source"] | {"token": f"secret:{secret}"}}

    async with _served(tmp_path, mirror, HF_TOKEN="of-nobody", **secrets) as client:

        async def refused(config: dict[str, Any]) -> str:
            failed = await client.load("bad", config, ipc.Failed)
            assert failed.code == "MODEL_LOAD_FAILED"
            said.append(failed.message)
            return failed.message

        await client.load("r1", named("org/legal", "legal"), ipc.Loaded)
        await client.load("r2", named("org/medical", "medical"), ipc.Loaded)
        # The token of this process is nobody else's, and one of another source neither.
        assert "no org/legal" in await refused(_model("org/legal", _OTHER))
        mirror.private["org/other"] = _RENEWED
        mirror.repositories["org/other", _COMMIT] = folder
        assert "set secret:legal to a token" in await refused(named("org/other", "legal"))
        # It is renewed in its file, without a restart.
        file.write_text(_RENEWED)
        await client.load("r3", named("org/other", "legal"), ipc.Loaded)
        missing = await refused(named("org/legal", "absent"))
        assert "secret:absent" in missing
        assert "SIE_SECRET_ABSENT" in missing
        file.unlink()
        assert "cannot be read" in await refused(named("org/legal", "legal"))
    said.append((tmp_path / "server.log").read_text())
    for secret in (_TOKEN, _RENEWED, "another-token-0f", "of-nobody"):
        assert not [text for text in said if secret in text]


async def _unload(client: Client, revision: str) -> None:
    await client.ask(ipc.Unload(client.next_id(), revision), ipc.Pong)


# One process for what takes settings: a bound on the cache, and a quick word on downloads.
@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bounded(
    mirror: HubMirror, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Client, Path]]:
    home = tmp_path_factory.mktemp("bounded")
    flags = ["--hub-bytes-max", str(_fetched_bytes(folder) * 5 // 2)]
    flags += ["--download-progress-s", "0.05", "--remote-code-models", f"org/coded@{_COMMIT}"]
    modules = str(home / "modules")
    async with _served(home, mirror, *flags, HF_MODULES_CACHE=modules) as client:
        yield client, home


def _fetched_bytes(folder: Path) -> int:
    wanted = {".json", ".safetensors"}
    return sum(path.stat().st_size for path in folder.rglob("*") if path.suffix in wanted)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_bounded_cache_lets_go_of_the_least_recently_used_and_never_of_what_is_used(
    bounded, mirror, folder
):
    client, home = bounded

    async def load(name: str) -> None:
        mirror.repositories[f"org/{name}", _COMMIT] = folder
        await client.load(name, _model(f"org/{name}"), ipc.Loaded)

    def kept() -> set[str]:
        return {path.name.removeprefix("models--org--") for path in home.glob("cache/models--*")}

    for name in ("a", "b"):
        await load(name)
    for name in ("a", "b"):
        await _unload(client, name)
    await load("a")
    await load("c")
    assert kept() == {"a", "c"}, "b was used before a was used again"
    log = home / "server.log"
    assert "org/b at 111111111111 leaves the hub cache" in log.read_text()
    await load("d")
    assert kept() == {"a", "c", "d"}, "all of it is in use"
    assert "all of it is in use: raise the bound" in log.read_text()
    # Another process of this host uses c.
    elsewhere = FolderPin(home / "cache/.locks/sie/models--org--c" / _COMMIT)
    for name in ("a", "c"):
        await _unload(client, name)
    await load("b")
    assert kept() == {"b", "c", "d"}
    del elsewhere
    await _unload(client, "d")
    await load("a")
    assert kept() == {"a", "b"}
    texts = random_tokens([5, 9], vocabulary=VOCABULARY)
    one = await client.run("a", "encode", texts, ipc.BatchDone)
    assert one.answers == (await client.run("b", "encode", texts, ipc.BatchDone)).answers


@pytest.mark.asyncio(loop_scope="module")
async def test_a_download_that_takes_long_tells_how_far_it_is(bounded, mirror, folder):
    _, home = bounded
    mirror.repositories["org/slow", _COMMIT] = folder
    held = mirror.held["org/slow"] = threading.Event()
    log = home / "server.log"
    told = re.compile(r"downloading org/slow@1{40}: (\d+) of (\d+) bytes, [\d.]+ MB/s")

    def half_way() -> bool:
        return any(0 < int(done) < int(total) for done, total in told.findall(log.read_text()))

    async with _sidecar(home / "server.sock") as models:
        loading = asyncio.create_task(models.ensure(_resolved("org/slow")))
        try:
            await until(half_way)
            await until(lambda: "bytes" in models.reports()["org/slow"].reason)
            assert models.reports()["org/slow"].state == "loading"
            (port,) = re.findall(r"status routes listen on port (\d+)", log.read_text())
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as status:
                state = (await status.get("/readyz")).json()
                assert "bytes" in state["downloading"][f"org/slow@{_COMMIT}"]
                held.set()
                await loading
                assert (await status.get("/readyz")).json()["downloading"] == {}
            report = models.reports()["org/slow"]
            assert (report.state, report.reason) == ("loaded", "")
        finally:
            held.set()
        await models.unload_unless(lambda _: False)


@asynccontextmanager
async def _sidecar(socket: Path) -> AsyncIterator[Models]:
    """A worker's own view of what is loaded."""
    executor = Executor(
        str(socket),
        reconnect_s=0.1,
        ping_interval_s=0.02,
        ping_timeout_s=30,
        load_timeout_s=60,
        batch_timeout_s=30,
    )
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(executor.run(stop))
        try:
            await executor.wait_connected()
            yield Models(
                executor,
                cooldown_s=1,
                latency_s=None,
                pinned=lambda _: False,
                clock=time.monotonic,
                on_change=lambda: None,
            )
        finally:
            stop.set()


def _resolved(name: str) -> ResolvedModel:
    config = _model(name)
    given = {key: config[key] for key in ("model_id", "source", "tasks")}
    document = cast(
        "ModelJson",
        admit_document("model", given | {"profiles": {"default": config["profile"]}}),
    )
    return ResolvedModel(
        model_id=name,
        profile="default",
        revision=model_revision(document, "default"),
        document=document,
        profile_document=document["profiles"]["default"],
        pool="default",
        bundle="default",
        machine_profiles=("cpu",),
        operations=frozenset({"encode"}),
        outputs=("dense",),
    )


_OWN_CODE = """
from pathlib import Path
from transformers import BertConfig, BertModel

Path({trace!r}).touch()


class OwnConfig(BertConfig):
    model_type = "own"


class OwnModel(BertModel):
    config_class = OwnConfig
"""


def _with_own_code(folder: Path, made: Path, trace: Path, module: str = "own") -> Path:
    """A copy of a model whose architecture is code that leaves a trace where it runs."""
    shutil.copytree(folder, made)
    config = json.loads((made / "config.json").read_text())
    names = {"AutoConfig": f"{module}.OwnConfig", "AutoModel": f"{module}.OwnModel"}
    config |= {"model_type": "own", "auto_map": names}
    (made / "config.json").write_text(json.dumps(config))
    (made / "own.py").write_text(_OWN_CODE.format(trace=str(trace)))
    return made


@pytest.mark.asyncio(loop_scope="module")
async def test_a_models_own_code_runs_only_in_the_revision_that_the_operator_names(
    bounded, mirror, folder, tmp_path
):
    client, _ = bounded
    trace = tmp_path / "trace"
    coded = _with_own_code(folder, tmp_path / "coded", trace)
    mirror.repositories["org/coded", _COMMIT] = coded
    for name, commit in (("org/coded", _OTHER), ("org/stranger", _COMMIT)):
        mirror.repositories[name, commit] = coded
        failed = await client.load("coded", _model(name, commit), ipc.Failed)
        assert failed.code == "MODEL_LOAD_FAILED"
        assert "auto_map in config.json" in failed.message
        assert f"SIE_SERVER_REMOTE_CODE_MODELS={name}@{commit}" in failed.message
    assert not trace.exists()

    loaded = await client.load("coded", _model("org/coded"), ipc.Loaded)
    assert trace.exists()
    assert loaded.execution == "padded"
    assert "its own code" in loaded.reason
    texts = random_tokens([5, 9], vocabulary=VOCABULARY)
    answers = (await client.run("coded", "encode", texts, ipc.BatchDone)).answers
    mirror.repositories["org/plain", _COMMIT] = folder
    await client.load("plain", _model("org/plain"), ipc.Loaded)
    plain = (await client.run("plain", "encode", texts, ipc.BatchDone)).answers
    assert isinstance(answers, ipc.DenseAnswers) and isinstance(plain, ipc.DenseAnswers)
    found, expected = (np.frombuffer(one.values, "<f4").reshape(2, -1) for one in (answers, plain))
    assert_same(found, expected)


def test_code_of_another_repository_is_not_run_by_an_allowed_one(folder, tmp_path):
    coded = _with_own_code(folder, tmp_path / "coded", tmp_path / "trace", "org/else--own")
    with pytest.raises(OurFault, match="from another repository"):
        has_own_code(Weights(coded, None, hub_name=f"org/coded@{_COMMIT}", may_run_code=True))


@pytest.mark.parametrize("name", ["org/coded", "org/coded@main", f"@{_COMMIT}"])
def test_an_operator_allows_code_by_its_whole_commit(name):
    with pytest.raises(ValueError, match="<id>@<commit>"):
        ServerSettings(socket="s", remote_code_models=(name,))
