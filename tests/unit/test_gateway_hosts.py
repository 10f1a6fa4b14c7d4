"""The faces of Ollama, vLLM, Mistral and the hub's tasks, over a bus in memory."""

from typing import Any

import msgspec
import numpy as np
import pytest
from tests.support.gateway_world import echo_result, gateway_world, model, resolver_of
from tests.unit.test_gateway_faces import (
    OLLAMA_EMBED,
    OLLAMA_EMBEDDINGS,
    VLLM_SCORE,
    get,
    post,
    sigmoid,
)

from sie_schemas.jobs import Job, JobResult


async def test_ollama_has_vectors_of_length_1_and_its_older_clients_the_models_own() -> None:
    unsaid = {"options": {"num_ctx": None}, "keep_alive": "5m"}
    async with gateway_world() as world:
        new = await post(world, "/api/embed", OLLAMA_EMBED | unsaid)
        old = await post(world, "/api/embeddings", OLLAMA_EMBEDDINGS)
        await post(world, "/api/embed", OLLAMA_EMBED | {"truncate": False, "dimensions": 2})
        asked = world.echo.seen[-1]
        known = await post(world, "/api/embed", OLLAMA_EMBED | {"keep_live": "5m"})
    assert np.linalg.norm(new.json()["embeddings"], axis=1) == pytest.approx([1.0, 1.0])
    assert (new.json()["model"], new.json()["prompt_eval_count"]) == ("org/dense", 6)
    assert old.json() == {"embedding": [4.0, 0.0, 0.0]}
    assert (asked.options["truncate"], asked.dimensions) == ("none", 2)
    # Its client shows what stands under `error`, and wants a sentence.
    assert "did you mean 'keep_alive'?" in known.json()["error"]


async def test_vllm_scores_pairs_in_the_order_of_the_request() -> None:
    async with gateway_world() as world:
        scored = await post(world, "/score", VLLM_SCORE)
        logits = await post(world, "/v1/score", VLLM_SCORE | {"use_activation": False})
        one = await post(world, "/score", VLLM_SCORE | {"text_1": ["q"], "text_2": "a"})
        pairs = await post(world, "/score", VLLM_SCORE | {"text_1": ["q", "r", "s"]})
    raw = [each["score"] for each in logits.json()["data"]]
    assert [each["score"] for each in scored.json()["data"]] == pytest.approx([*map(sigmoid, raw)])
    assert sorted(raw) != raw and [each["index"] for each in scored.json()["data"]] == [0, 1, 2]
    assert [each["object"] for each in one.json()["data"]] == ["score"]
    assert (pairs.status_code, pairs.json()["error"]["param"]) == (400, "text_1")


async def test_clients_of_mistral_find_a_type_and_abilities_of_each_model() -> None:
    async with gateway_world() as world:
        listed = (await get(world, "/v1/models")).json()["data"]
        one = (await get(world, "/v1/models/dense")).json()
        infinity = (await get(world, "/models")).json()["data"]
    assert {each["type"] for each in [*listed, one]} == {"base"}
    # That client takes an ability that is not told, and a window, for its own service's default.
    for told in [*listed, one]:
        assert not told["capabilities"]["completion_chat"]
        assert not told["capabilities"]["function_calling"]
    assert one["max_context_length"] == one["max_sequence_length"]
    assert {type(each["capabilities"]) for each in infinity} == {list}


async def test_the_hubs_tasks_have_classes_or_entities_and_their_parameters() -> None:
    classes = [{"label": "good", "score": 0.75}, {"label": "bad", "score": 0.25}]
    entities = [
        {"text": "Ada", "label": "PER", "score": 1.0, "start": 0, "end": 3},
        {"text": "Paris", "label": "LOC", "score": 0.5, "start": 7, "end": 12},
    ]
    found: dict[str, Any] = {}

    def answer(job: Job) -> JobResult:
        return echo_result(job, answers=(msgspec.msgpack.encode(found),) * len(job.items))

    backends = ["text-classification", "token-classification", "gliclass"]
    models = [
        model(name, {"extract": {}}, profiles={"default": {"backend": name}}) for name in backends
    ]
    bundle = ("bundle", "default", {"name": "default", "backends": backends})
    async with gateway_world() as world:
        world.resolver = resolver_of([*models, bundle, ("pool", "default", {"name": "default"})])
        world.echo.answer = answer

        async def ask(name: str, inputs: Any, **parameters: Any) -> Any:
            body = {"inputs": inputs, "parameters": parameters}
            return (await post(world, f"/tei/{name}", body)).json()

        found = {"classifications": classes}
        sorted_ = await ask("text-classification", "a", function_to_apply="sigmoid", top_k=1)
        assert sorted_ == [classes[:1]]
        options = world.echo.seen[-1].options
        listed = await ask("text-classification", ["a", "b"])
        labelled = await ask("gliclass", "a", candidate_labels=["good"], multi_label=False)
        labels = world.echo.seen[-1].labels
        found = {"entities": entities}
        told = await ask(
            "token-classification", "Ada", aggregation_strategy="simple", ignore_labels=["LOC"]
        )
        unknown = await ask("token-classification", "a", stride=3)
        of_classes = await ask("token-classification", "a", top_k=3)
        of_entities = await ask("text-classification", "a", ignore_labels=["LOC"])
        of_labels = await ask("gliclass", "a", multi_label=True)
        unsaid = await ask("text-classification", "a", multi_label=False, ignore_labels=[])
        # A threshold leaves no class: a client takes the first of the list all the same.
        found = {"classifications": [], "entities": []}
        no_class = await ask("text-classification", "a", top_k=2)
        no_classes = await ask("text-classification", ["a", "b"])
        no_label = await ask("gliclass", "a", candidate_labels=["good"])
        no_entity = await ask("token-classification", "a")
    assert options == {"activation": "sigmoid"}
    assert listed == [classes] * 2
    assert (labelled, tuple(labels)) == (classes, ("good",))
    assert told == [{"entity_group": "PER", "score": 1.0, "word": "Ada", "start": 0, "end": 3}]
    refused = {"stride": unknown, "top_k": of_classes, "ignore_labels": of_entities}
    for name, each in (refused | {"multi_label": of_labels}).items():
        assert each["detail"]["field"] == f"$.parameters.{name}"
    assert unsaid == [[]]
    assert (no_class, no_classes, no_label, no_entity) == ([[]], [[], []], [], [])
