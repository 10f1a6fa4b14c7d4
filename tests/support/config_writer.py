"""A writer without a process: a control plane on a folder, with a stream in memory.

*shell.* For tests of sie-config. Time constants are milliseconds; the clock is given.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
from tests.support.told_answers import check_answer

from sie_config.http.api import build_app
from sie_config.keys.key_file import key_path, make_key, read_key
from sie_config.log.log_file import LogFile
from sie_config.settings import ConfigSettings
from sie_config.writer.draft import Draft, Outcome, Tenure, Write
from sie_config.writer.rules import Command, Index, Put
from sie_config.writer.seed import SEED
from sie_config.writer_process import ControlPlane
from sie_core.registry import Registry
from sie_schemas import canonical
from sie_schemas.documents import admit_document
from sie_schemas.entry import Change, ChangeKind, Entry, put_key
from sie_testing.contracts.memory_stream import MemoryStream
from sie_testing.signing import WRITER_KEY

LOG_ID = "0123456789abcdef0123456789abcdef"
TENURE = Tenure(LOG_ID, term=1, writer="00112233aabbccdd")
NOW_US = 1_700_000_000_000_000


def model(model_id: str, **changes: Any) -> dict[str, Any]:
    """A model document as a client sends it."""
    return {
        "model_id": model_id,
        "source": {"type": "hub", "id": "org/weights", "revision": "0" * 40},
        "tasks": {"encode": {}},
        "profiles": {"default": {"backend": "transformer"}},
        **changes,
    }


def put_model(model_id: str, **changes: Any) -> Put:
    """The command that puts a model."""
    document = admit_document("model", model(model_id, **changes))
    return Put("model", model_id, document, canonical.dumps(document))


def write(*commands: Command, actor: str = "tester", reason: str = "") -> Write:
    """A write of commands."""
    return Write(actor, reason, request_id="r", commands=commands)


def begun_log(tenure: Tenure = TENURE) -> Draft:
    """A draft that holds the first three entries of a new log."""
    index = Index()
    draft = Draft(Registry.EMPTY, index, None, tenure, NOW_US)
    first = [Change(kind=ChangeKind.LOG_BEGIN), put_key(WRITER_KEY.document)]
    draft.begin(first, actor="sie-config", reason="a new log")
    draft.begin([Change(kind=ChangeKind.TERM_BEGIN)], actor="sie-config", reason="a writer started")
    draft.begin(SEED, actor="sie-config", reason="seed")
    sign(draft)
    for entity in draft.registry:
        index.update(entity.kind, entity.key, json.loads(entity.document))
    return draft


def sign(draft: Draft) -> list[Entry]:
    """Sign every entry of a draft, as the key that its first one brings; gives them."""
    draft.entries = [WRITER_KEY.signed(entry) for entry in draft.entries]
    draft.last = draft.entries[-1]
    return draft.entries


def grown_log(models: int) -> list[Entry]:
    """The entries of a log with so many models, one entry each, and each signed."""
    draft = begun_log()
    for number in range(models):
        draft.write(write(put_model(f"org/model-{number}")))
    return sign(draft)


def new_file(path: Path, entries: Sequence[Entry] = ()) -> LogFile:
    """An open log file that holds these entries, with its key beside it."""
    file = LogFile.open(path)
    if read_key(key_path(path)) is None:
        make_key(key_path(path), WRITER_KEY)
    if entries:
        file.append(entries)
    return file


def settings_for(folder: Path, **changes: Any) -> ConfigSettings:
    """Settings with milliseconds where the default has seconds."""
    quick: dict[str, Any] = {
        "data_dir": folder,
        "roll_call_s": 0.05,
        "publish_retry_s": 0.01,
        "publish_verify_s": 0.05,
        "head_file_s": 0.01,
        "ack_wait_s": 2.0,
    }
    return ConfigSettings(**(quick | changes))


@contextlib.asynccontextmanager
async def running(
    folder: Path, stream: MemoryStream | None = None, **changes: Any
) -> AsyncIterator[ControlPlane]:
    """A control plane with its loops running; drained and closed at the end."""
    plane = await ControlPlane.open(
        settings_for(folder, **changes),
        stream_of=(lambda _log_id: stream) if stream is not None else None,
    )
    stop = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(plane.run(stop))
            try:
                yield plane
            finally:
                stop.set()
    finally:
        await plane.close()


@contextlib.asynccontextmanager
async def client_of(plane: ControlPlane) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of a control plane, without a socket; each answer is as the document says."""
    transport = httpx.ASGITransport(build_app(plane))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://config", event_hooks={"response": [_judged]}
    ) as client:
        yield client


async def _judged(response: httpx.Response) -> None:
    if response.is_success and response.headers["content-type"] == "application/json":
        request, body = response.request, await response.aread()
        check_answer("sie-config", request.method, request.url.path, response.status_code, body)


async def put(plane: ControlPlane, model_id: str, **changes: Any) -> Outcome:
    """Write one model."""
    outcome, _ = await plane.write(write(put_model(model_id, **changes)))
    return outcome
