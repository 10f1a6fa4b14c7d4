"""The demo's story: what the cluster can do, each step asserted on a running cluster.

*shell.* Uses the SDK for requests and plain HTTP for configs, as an application and an operator
would. A step returns the facts that it saw and raises `StepFailed` when one of them is not so. It
neither starts the cluster nor prints.
"""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
from numpy.typing import NDArray

from sie_cli.access import state
from sie_cli.supervisor.seeding import ADAPTED_MODEL, installed_models
from sie_schemas.errors import OurFault, SIEError
from sie_sdk import SIEAsyncClient
from sie_sdk.types import Item

__all__ = ["STEPS", "Stage", "StepFailed"]

_RERANKER: Final = "cross-encoder/ms-marco-MiniLM-L-12-v2"
_EXTRACTOR: Final = "spacy/en_core_web_sm"
_OCR_PACKAGE: Final = "rapidocr"
_READER: Final = "demo/ocr"
_LINES: Final = ("Invoice 4711", "total 99.50 EUR", "paid in Berlin")
_NEW_MODEL: Final = "demo/minilm-added-live"
_CLAUSE: Final = "The lessee shall indemnify the lessor against any claim."
_CAPACITY_S: Final = 60.0
"""A worker starts in seconds; a busy machine takes ten times as long."""
_SEEN_S: Final = 20.0
"""A change is applied in milliseconds; the rest is patience for a busy machine."""
_POLL_S: Final = 0.02
"""Below what a reader of the story notices."""
_GLANCE_S: Final = 0.5
"""One look; the next one comes anyway."""
_SAME: Final = 1e-5
"""A hundred times the noise of float32 in a cosine distance."""
_DIFFERENT: Final = 1e-3
"""A hundred times more than that: the adapter did something."""


class StepFailed(OurFault):
    """A step whose promise was not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The scene of the story."""

    data: Path
    gateway_url: str
    config_url: str
    client: SIEAsyncClient
    http: httpx.AsyncClient


async def encode(stage: Stage) -> dict[str, Any]:
    """Vectors: what means the same is near."""
    texts = ["A cat sleeps on the sofa.", "A kitten naps on the couch.", "Rates rose by a point."]
    cat, kitten, rates = [await _vector(stage, text) for text in texts]
    near, far = _cosine(cat, kitten), _cosine(cat, rates)
    _hold(near > far + 0.2, f"related {near:.3f} is not nearer than unrelated {far:.3f}")
    return {"dimensions": int(cat.size), "related": round(near, 3), "unrelated": round(far, 3)}


async def score(stage: Stage) -> dict[str, Any]:
    """Reranking: the passage that answers comes first."""
    passages = [
        Item(id="tower", text="The Eiffel Tower is 330 metres tall."),
        Item(id="reset", text="To reset a password, open Settings and choose Security."),
        Item(id="rain", text="It rained in Lisbon."),
    ]
    result = await stage.client.score(
        _RERANKER, Item(text="How do I change my password?"), passages, wait_for_capacity=True
    )
    ranked = sorted(result["scores"], key=lambda each: each["rank"])
    _hold(ranked[0]["item_id"] == "reset", f"the best passage is {ranked[0]['item_id']}")
    return {"order": [each["item_id"] for each in ranked]}


async def extract(stage: Stage) -> dict[str, Any]:
    """Extraction: names and amounts out of a sentence."""
    sentence = "Tim Cook of Apple Inc. spoke in Berlin about a $25 million plan."
    result = await stage.client.extract(_EXTRACTOR, Item(text=sentence), wait_for_capacity=True)
    found = {entity["text"]: entity["label"] for entity in result["entities"]}
    _hold(found.get("Berlin") == "GPE", f"Berlin is not among {found}")
    places = await stage.client.extract(_EXTRACTOR, Item(text=sentence), labels=["location"])
    named = [entity["text"] for entity in places["entities"]]
    _hold(named == ["Berlin"], f"the locations are {named}")
    return {"entities": found, "locations": named}


async def read_picture(stage: Stage) -> dict[str, Any]:
    """Images: the lines of text in a picture, by the models that a package brings."""
    try:
        ocr = version(_OCR_PACKAGE)
    except PackageNotFoundError:
        return {"left out": 'pip install "sie-cluster[ocr]" brings the models'}
    await _put_reader(stage, ocr)
    found = await _until(lambda: _read(stage, _drawn(_LINES)))
    lines = [entity["text"] for entity in found]
    # The reader of lines may leave a blank out.
    plain, wanted = ["".join(line.replace(" ", "") for line in each) for each in (lines, _LINES)]
    _hold(plain == wanted, f"it says {lines}")
    return {"lines": lines, "first at": [round(edge) for edge in found[0]["bbox"]]}


async def adapt(stage: Stage) -> dict[str, Any]:
    """LoRA: a request names an adapter; a request without one gets exactly the base."""
    base = await _vector(stage, _CLAUSE)
    legal = await _vector(stage, _CLAUSE, lora="legal")
    again = await _vector(stage, _CLAUSE)
    _hold(_distance(base, legal) > _DIFFERENT, "the adapter changed nothing")
    _hold(_distance(base, again) < _SAME, "the base was changed by the adapter")
    return {
        "moved": round(_distance(base, legal), 4),
        "base_moved": round(_distance(base, again), 9),
    }


async def refuse(stage: Stage) -> dict[str, Any]:
    """An unknown adapter is an error, never the base weights."""
    try:
        await _vector(stage, _CLAUSE, lora="no-such-adapter")
    except SIEError as error:
        _hold(error.code == "ADAPTER_NOT_FOUND", f"the error is {error.code}: {error.message}")
        return {"code": error.code, "message": error.message}
    raise StepFailed("the unknown adapter was answered")


async def add_live(stage: Stage) -> dict[str, Any]:
    """A model is added while everything runs, and used without a restart."""
    before = _pids(stage)
    document = next(each for each in installed_models() if each["model_id"] == ADAPTED_MODEL)
    added = {**document, "model_id": _NEW_MODEL, "aliases": []}
    started = time.monotonic()
    response = await stage.http.post(
        f"{stage.config_url}/v1/configs/models",
        json=added,
        headers={"X-SIE-Actor": "sie demo", "X-SIE-Reason": "shown in the demo"},
    )
    _hold(response.is_success, f"sie-config answered {response.status_code}: {response.text}")
    vector = await _until(lambda: _known(stage))
    used_s = time.monotonic() - started
    _hold(vector.size > 0, "the vector is empty")
    _hold(_pids(stage) == before, "a process was restarted")
    return {"epoch": response.json()["epoch"], "usable_after_s": round(used_s, 3)}


async def tell_history(stage: Stage) -> dict[str, Any]:
    """The log tells who changed what, when and why."""
    response = await stage.http.get(f"{stage.config_url}/v1/configs/models/{_NEW_MODEL}/history")
    _hold(response.is_success, f"sie-config answered {response.status_code}: {response.text}")
    last = response.json()["history"][-1]
    _hold(last["actor"] == "sie demo", f"the actor is {last['actor']}")
    return {name: last[name] for name in ("epoch", "ts", "actor", "reason", "kind")}


async def survive(stage: Stage) -> dict[str, Any]:
    """A worker is killed; a request is answered once it is back. Others get `202 Accepted` if the
    gateway misses it before."""
    before = _pids(stage)
    for role in ("server-0", "worker-0"):
        os.kill(before[role], signal.SIGKILL)
    started = time.monotonic()
    answer = asyncio.create_task(_vector(stage, _CLAUSE))
    retry_after: str | None = None
    while not answer.done():
        retry_after = await _refused(stage) or retry_after
        await asyncio.sleep(_POLL_S)
    await answer
    answered_s = time.monotonic() - started
    after = _pids(stage)
    _hold(after["worker-0"] != before["worker-0"], "the worker was not restarted")
    return {"retry_after": retry_after, "answered_after_s": round(answered_s, 2)}


STEPS: Final[tuple[tuple[str, Callable[[Stage], Awaitable[dict[str, Any]]]], ...]] = (
    ("encode", encode),
    ("score", score),
    ("extract", extract),
    ("picture", read_picture),
    ("lora", adapt),
    ("unknown adapter", refuse),
    ("model added live", add_live),
    ("history", tell_history),
    ("worker killed", survive),
)


async def _vector(
    stage: Stage, text: str, *, lora: str | None = None, model: str = ADAPTED_MODEL
) -> NDArray[Any]:
    result = await stage.client.encode(
        model,
        Item(text=text),
        options={"lora": lora} if lora is not None else None,
        wait_for_capacity=True,
        provision_timeout_s=_CAPACITY_S,
    )
    return np.asarray(result["dense"], dtype=np.float64)


async def _put_reader(stage: Stage, ocr: str) -> None:
    """Write the model that reads pictures, and let the workers' bundle run its backend."""
    bundles = f"{stage.config_url}/v1/configs/bundles"
    bundle = (await stage.http.get(f"{bundles}/default")).json()["document"]
    backends = [name for name in bundle["backends"] if name != "ocr"]
    source = {"type": "package", "package": _OCR_PACKAGE, "distribution": _OCR_PACKAGE}
    model = {
        "model_id": _READER,
        "source": {**source, "version": ocr, "path": "models"},
        "tasks": {"extract": {}},
        "profiles": {"default": {"backend": "ocr"}},
    }
    headers = {"X-SIE-Actor": "sie demo", "X-SIE-Reason": "a picture is read"}
    for url, document in (
        (bundles, {**bundle, "backends": [*backends, "ocr"]}),
        (f"{stage.config_url}/v1/configs/models", model),
    ):
        response = await stage.http.post(url, json=document, headers=headers)
        _hold(response.is_success, f"sie-config answered {response.status_code}: {response.text}")


async def _read(stage: Stage, picture: Any) -> Any:
    """The lines of a picture; None while the model is on its way to the gateway."""
    try:
        result = await stage.client.extract(_READER, Item(image=picture), wait_for_capacity=True)
    except SIEError as error:
        if error.code == "MODEL_NOT_FOUND":
            return None
        raise
    return result["entities"]


def _drawn(lines: Sequence[str]) -> Any:
    """A picture of lines of text."""
    # It costs a tenth of a second, which the other commands save.
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415

    page = Image.new("RGB", (420, 60 * len(lines) + 20), "white")
    for place, line in enumerate(lines):
        at = (20, 15 + 60 * place)
        ImageDraw.Draw(page).text(at, line, fill="black", font=ImageFont.load_default(34))
    return page


async def _known(stage: Stage) -> NDArray[Any] | None:
    """The new model's vector; None while the change is still on its way to the gateway."""
    try:
        return await _vector(stage, _CLAUSE, model=_NEW_MODEL)
    except SIEError as error:
        if error.code == "MODEL_NOT_FOUND":
            return None
        raise


async def _refused(stage: Stage) -> str | None:
    """The `Retry-After` of a 202; None while the gateway does not miss the worker."""
    try:
        response = await stage.http.post(
            f"{stage.gateway_url}/v1/encode/{ADAPTED_MODEL}",
            json={"items": [{"text": _CLAUSE}]},
            timeout=_GLANCE_S,
        )
    except httpx.TimeoutException:
        return None
    return response.headers["retry-after"] if response.status_code == httpx.codes.ACCEPTED else None


async def _until(look: Callable[[], Awaitable[Any]]) -> Any:
    """Wait for `look` to give something. Raises `StepFailed` when that takes too long."""
    deadline = time.monotonic() + _SEEN_S
    while time.monotonic() < deadline:
        found = await look()
        if found is not None:
            return found
        await asyncio.sleep(_POLL_S)
    raise StepFailed(f"it was not seen within {_SEEN_S:g} s")


def _pids(stage: Stage) -> dict[str, int]:
    record = state.load(stage.data)
    return {each.role: each.pid for each in record.processes} if record is not None else {}


def _hold(holds: bool, otherwise: str) -> None:
    if not holds:
        raise StepFailed(otherwise)


def _cosine(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def _distance(one: NDArray[Any], other: NDArray[Any]) -> float:
    return 1.0 - _cosine(one, other)
