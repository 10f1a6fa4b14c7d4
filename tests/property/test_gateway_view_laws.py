"""Laws of what a gateway shows: each view is what the log and the heartbeats say, and no more."""

import json
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from fastapi.responses import StreamingResponse
from hypothesis import given
from hypothesis import strategies as st
from tests.support.gateway_world import heartbeat, model, standard_resolver

from sie_core.resolver import Resolver
from sie_gateway.fleet.fleet import Fleet
from sie_gateway.fleet.routing import Cold, Routes, Wanted
from sie_gateway.http.long_answers import long_answer, long_text
from sie_gateway.http.tei_info import tei_info
from sie_gateway.http.views import LongView, Rows, cluster_view, model_view, models_view
from sie_gateway.http.widths import Widths
from sie_gateway.request.inference import Inference
from sie_gateway.request.requests import Asked, Limits
from sie_gateway.request.responses import Answer
from sie_schemas.errors import Later
from sie_schemas.fleet import Heartbeat, ModelReport
from sie_schemas.revisions import model_revision

PROFILES: dict[str, dict[str, Any]] = {
    "default": {"backend": "echo", "dtype": "fp32", "max_sequence_length": 64},
    "aaa": {"backend": "ocr", "dtype": "fp16", "options": {"pooling": "cls"}},
    "zzz": {"backend": "echo", "dtype": "bf16", "options": {"pooling": "last"}},
}
TASKS: dict[str, dict[str, Any]] = {
    "org/both": {"encode": {"outputs": ["dense", "sparse"]}, "score": {}, "extract": {}},
    "org/words": {"encode": {"outputs": ["sparse"]}},
    "org/plain": {"encode": {}},
    "org/judge": {"score": {}, "extract": {}},
    "org/search": {"extract": {}},
}
RESOLVER = standard_resolver(
    ("bundle", "two", {"name": "two", "backends": ["echo", "ocr"]}),
    *[
        model(
            name,
            tasks,
            profiles=PROFILES if name != "org/search" else {"default": {"backend": "echo"}},
            aliases=[name.removeprefix("org/")],
        )
        for name, tasks in TASKS.items()
    ],
)
LIMITS = Limits(items_max=1, chars_max=10, payload_bytes_max=10_000)
_found = Routes().find(standard_resolver(), Fleet(6.0), Wanted("dense", "encode"), now=0.0)
ROUTE = _found.route if isinstance(_found, Cold) else _found
BEST_FIRST = ("loaded", "loading", "available", "failed")
WORDS_MAX = 500

reports = st.builds(
    ModelReport,
    state=st.sampled_from(BEST_FIRST),
    reason=st.sampled_from(["no file", "no memory"]),
    dims=st.sampled_from([{}, {"dense": 3}, {"dense": 5}]),
    max_sequence_length=st.sampled_from([0, 7, 512]),
)
told = st.fixed_dictionaries(
    {
        "ready": st.booleans(),
        "machine_profile": st.sampled_from(["cpu", "l4", "h100"]),
        "devices": st.integers(0, 3),
        "devices_ready": st.integers(0, 4),
        "queue_depth": st.integers(0, 5),
        "devices_trouble": st.sampled_from(["", "x" * WORDS_MAX, "x" * (WORDS_MAX + 1)]),
        "trouble": st.sampled_from(["", "y" * WORDS_MAX, "y" * (WORDS_MAX + 1)]),
        "models": st.dictionaries(st.sampled_from(sorted(TASKS)), reports, min_size=1, max_size=4),
    }
)
fleets = st.lists(told, max_size=4).map(
    lambda each: [heartbeat(f"w{number}", **fields) for number, fields in enumerate(each)]
)


def best(found: list[ModelReport]) -> str:
    """The best state that anybody reports; what nobody has can still be loaded."""
    return min((report.state for report in found), key=BEST_FIRST.index, default="available")


def of_model(workers: list[Heartbeat], name: str) -> list[ModelReport]:
    return [worker.models[name] for worker in workers if name in worker.models]


@given(fleets, st.booleans())
def test_a_cluster_is_what_its_workers_say(workers, ready):
    view = cluster_view(RESOLVER, workers, ready=ready, awaited=False)
    head: Any = view.head
    live = [worker for worker in workers if worker.ready]
    gpus = {each.worker_id: each.devices * (each.machine_profile != "cpu") for each in workers}
    loaded = {
        each.worker_id: [name for name, said in each.models.items() if said.state == "loaded"]
        for each in workers
    }
    assert head["status"] == ("healthy" if ready and live else "degraded")
    assert head["live_gpu_types"] == sorted({worker.machine_profile for worker in live})
    assert head["cluster"]["worker_count"] == len(workers)
    assert head["cluster"]["gpu_count"] == sum(gpus.values())
    assert head["cluster"]["models_loaded"] == len(
        {each for held in loaded.values() for each in held}
    )
    rows: list[Any] = [view.lists["workers"].row(key) for key in view.lists["workers"].keys]
    assert [row["name"] for row in rows] == [worker.worker_id for worker in workers]
    for worker, row in zip(workers, rows, strict=True):
        assert row["gpu_count"] == gpus[worker.worker_id]
        slots = min(worker.devices_ready, gpus[worker.worker_id])
        assert row["ready_gpu_slots"] == slots * worker.ready
        assert row["loaded_models"] == sorted(loaded[worker.worker_id])
        assert row["devices_trouble"] == worker.devices_trouble[:WORDS_MAX]
        assert row["trouble"] == worker.trouble[:WORDS_MAX]
    assert list(view.lists["models"].keys) == sorted(RESOLVER.models)
    for name in view.lists["models"].keys:
        holders = [each for each in workers if name in loaded[each.worker_id]]
        assert view.lists["models"].row(name) == {
            "name": name,
            "state": best(of_model(workers, name)),
            "worker_count": len(holders),
            "gpu_types": sorted({each.machine_profile for each in holders}),
            "total_queue_depth": sum(each.queue_depth for each in holders),
        }


@given(fleets)
def test_a_model_is_what_its_document_and_the_reports_on_it_say(workers):
    rows = models_view(RESOLVER, workers).lists["models"]
    for name, document in RESOLVER.models.items():
        of_this = [key for key in rows.keys if key.partition(":")[0] == name]
        others = sorted(profile for profile in document["profiles"] if profile != "default")
        assert of_this == [name, *[f"{name}:{profile}" for profile in others]]
    found = set()
    for name in TASKS:
        reports, tasks = of_model(workers, name), TASKS[name]
        for profile, said in RESOLVER.models[name]["profiles"].items():
            key = name if profile == "default" else f"{name}:{profile}"
            row: Any = rows.row(key)
            assert row["state"] == best(reports)
            assert row["loaded"] == (row["state"] == "loaded")
            # The words of the first, and none of a model that somebody can serve.
            failed = [each.reason for each in reports if each.state == "failed"]
            error = {"code": "MODEL_LOAD_FAILED", "message": failed[0]} if failed else None
            assert row["last_error"] == (error if row["state"] == "failed" else None)
            dims = [each.dims for each in reports if each.dims]
            assert row["dims"] == (dims[0] if dims else None)
            lengths = [each.max_sequence_length for each in reports if each.max_sequence_length]
            length = said.get("max_sequence_length") or (lengths[0] if lengths else None)
            assert row["max_sequence_length"] == length
            assert row["inputs"] == (["image"] if said["backend"] == "ocr" else ["text"])
            vectors = tasks["encode"].get("outputs", ["dense"]) if "encode" in tasks else []
            tail = [task for task in ("score", "extract") if task in tasks]
            assert row["outputs"] == [*vectors, *tail]
            assert row["revision"] == model_revision(RESOLVER.models[name], profile)
            found.add(row["revision"])
            # The way to a bundle's model, and an alias, are names of the same.
            for other in (f"two:/{key}", key.removeprefix("org/")):
                seen: Any = model_view(RESOLVER, workers, other)
                assert (seen["revision"], seen["id"]) == (row["revision"], other)
                kinds = [("encode", "embedding"), ("score", "rerank")]
                kind = [word for task, word in kinds if task in tasks]
                assert seen["model_type"] == (kind[0] if kind else None)
    assert len(found) == sum(len(RESOLVER.models[name]["profiles"]) for name in TASKS)


@given(st.sampled_from(sorted(TASKS)), st.sampled_from(sorted(PROFILES)), fleets)
def test_tei_is_told_the_profile_that_is_asked_for(name, profile, workers):
    tasks, said = TASKS[name], RESOLVER.models[name]["profiles"]
    profile = profile if profile in said else "default"
    spec = name if profile == "default" else f"{name}:{profile}"
    info = tei_info(RESOLVER, workers, spec, items_max=11, in_flight_max=13)
    assert (info["max_client_batch_size"], info["max_concurrent_requests"]) == (11, 13)
    types = {"default": "float32", "aaa": "float16", "zzz": "bfloat16"}
    if len(said) > 1:
        assert info["model_dtype"] == types[profile]
    names: dict[str, Any] = {"label2id": {}, "id2label": {}}
    if "encode" not in tasks:
        assert info["model_type"] == {"reranker" if "score" in tasks else "classifier": names}
        return
    pooling = {"default": "mean", "aaa": "cls", "zzz": "last_token"}[profile]
    has_vectors = "dense" in tasks["encode"].get("outputs", ["dense"])
    assert info["model_type"] == {"embedding": {"pooling": pooling if has_vectors else "splade"}}


ROWS_AT_ONCE = 100
SIZES = st.sampled_from([0, 1, 99, 100, 101, 199, 200, 201])


@given(st.booleans(), st.lists(SIZES, min_size=1, max_size=3))
async def test_a_long_answer_is_whole_in_order_and_in_parts(has_head, sizes):
    head = {"object": "list"} if has_head else {}
    rows = {f"l{place}": [f"{n}" for n in range(size)] for place, size in enumerate(sizes)}
    view = LongView(head, {name: Rows(keys, int) for name, keys in rows.items()})
    wanted = head | {name: [int(key) for key in keys] for name, keys in rows.items()}
    assert json.loads(await long_text(view)) == wanted

    answer = await long_answer(view)
    is_long = isinstance(answer, StreamingResponse)
    assert is_long == (sum(sizes) > ROWS_AT_ONCE)
    if isinstance(answer, StreamingResponse):
        parts = [part async for part in answer.body_iterator if isinstance(part, bytes)]
        assert msgspec.json.decode(b"".join(parts)) == wanted
        # Other requests have their turn between two parts.
        assert all(part.count(b",") <= ROWS_AT_ONCE for part in parts)
    else:
        assert msgspec.json.decode(bytes(answer.body)) == wanted


class Measured:
    """An inference whose vectors have widths of their own, and which fails at one request."""

    def __init__(self, fails_at: int) -> None:
        self.asked: list[str] = []
        self._fails_at = fails_at

    async def answer(self, asked: Asked, wanted: Wanted, *, request_id: str) -> Answer:
        [output] = asked.output_types
        self.asked.append(output)
        if len(self.asked) == self._fails_at:
            raise Later("no worker has room", code="QUEUE_FULL")
        width = {"token_dims": WIDTHS[output], "dims": 1}
        told = width if output == "multivector" else {"dims": WIDTHS[output]}
        return Answer(ROUTE, {"items": [msgspec.Raw(msgspec.msgpack.encode({output: told}))]},
                      0.0, 0.0, 0.0, 1, ("w",))  # fmt: skip


class OfEach:
    """A resolver for which each name is a model of one revision."""

    def __init__(self, outputs: list[str]) -> None:
        self._outputs = outputs

    def resolve(self, spec: str) -> Any:
        return SimpleNamespace(operations={"encode"}, outputs=self._outputs, revision=spec)


MEASURED_MAX = 10_000
WIDTHS = {"dense": 3, "sparse": 5, "multivector": 7}


@given(st.lists(st.sampled_from(sorted(WIDTHS)), min_size=1, unique=True), st.integers(0, 4))
async def test_widths_are_kept_once_all_of_a_model_are_measured(outputs, fails_at):
    inference = Measured(fails_at)
    resolver = OfEach(outputs)
    widths = Widths(
        cast(Inference, inference), lambda: cast(Resolver, resolver), LIMITS, retry_after_s=1.0
    )
    wanted = {output: WIDTHS[output] for output in outputs}
    if 0 < fails_at <= len(outputs):
        with pytest.raises(Later):
            await widths.of("m")
    assert await widths.of("m") == wanted
    count = len(inference.asked)
    assert (await widths.of("m"), len(inference.asked)) == (wanted, count)


async def test_of_more_models_than_the_bound_the_first_is_measured_again():
    inference, resolver = Measured(fails_at=0), OfEach(["dense"])
    widths = Widths(
        cast(Inference, inference), lambda: cast(Resolver, resolver), LIMITS, retry_after_s=1.0
    )
    for number in [*range(MEASURED_MAX), 0]:
        await widths.of(f"m{number}")
    assert len(inference.asked) == MEASURED_MAX
    for number in (MEASURED_MAX, 0):
        await widths.of(f"m{number}")
    assert len(inference.asked) == MEASURED_MAX + 2
