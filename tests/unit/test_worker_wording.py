"""The text that a model reads: templates, instructions and prompts, as authors define them."""

from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from tests.support.small_jobs import small_job

from sie_core.backend_options import of_backend
from sie_schemas.errors import FixRequest
from sie_schemas.ipc import Loaded, TaskForm, TextInput
from sie_schemas.items import Item
from sie_schemas.jobs import AdapterPin
from sie_worker.forms.answers import kept
from sie_worker.forms.tokenizing import prepare
from sie_worker.forms.wording import check_options, task_of, wording

JOB = small_job(items=(Item(text="a {text}"),), output_types=("dense",))
ASKED = "Given a web search query, retrieve relevant passages that answer the query"
QWEN = {"query": "Instruct: {instruction}\nQuery:{text}", "instruction": ASKED}
BGE = {"query": "Represent this sentence for searching relevant passages: {text}"}
NOMIC = {"query": "search_query: {text}", "document": "search_document: {text}"}
GRIT = {
    "query": "<|user|>\n{instruction}\n<|embed|>\n{text}",
    "document": "<|embed|>\n{text}",
    "instruction": ASKED,
}


def model(templates: dict[str, str], **rest: Any) -> Loaded:
    return Loaded(
        id=1,
        revision="rev",
        accepts="text",
        cost_unit="bytes4",
        templates=templates,
        options=of_backend("transformer"),
        dims={"dense": 8},
        **rest,
    )


def read(templates: dict[str, str], *, prompts: dict[str, str] | None = None, **job: Any) -> str:
    found = prepare(replace(JOB, **job), model(templates, prompts=prompts or {}), None)
    [(_, given, _)] = found.inputs
    assert isinstance(given, TextInput)
    return given.text


QUERY = {"options": {"is_query": True}}


@pytest.mark.parametrize(
    ("templates", "job", "text"),
    [
        (QWEN, QUERY, f"Instruct: {ASKED}\nQuery:a {{text}}"),
        (QWEN, QUERY | {"instruction": "Find {text}"}, "Instruct: Find {text}\nQuery:a {text}"),
        (QWEN, {}, "a {text}"),
        (BGE, QUERY, "Represent this sentence for searching relevant passages: a {text}"),
        (BGE, {}, "a {text}"),
        (NOMIC, QUERY, "search_query: a {text}"),
        (NOMIC, {}, "search_document: a {text}"),
        (GRIT, QUERY, f"<|user|>\n{ASKED}\n<|embed|>\na {{text}}"),
        (GRIT, {}, "<|embed|>\na {text}"),
        ({}, {"instruction": "ask: "}, "ask: a {text}"),
        (BGE, {"options": {"is_query": True, "query_template": "q: {text}"}}, "q: a {text}"),
        ({}, {"options": {"doc_template": "{text}"}}, "a {text}"),
    ],
)
def test_a_text_is_put_as_its_models_author_does(templates, job, text):
    assert read(templates, **job) == text


def test_a_template_goes_before_the_folders_prompt_on_its_own_side_only():
    prompts = {"query": "Q ", "document": "D "}
    assert read(BGE, prompts=prompts, **QUERY).startswith("Represent this")
    assert read(BGE, prompts=prompts) == "D a {text}"
    assert read({}, prompts=prompts, **QUERY) == "Q a {text}"


@pytest.mark.parametrize(
    ("templates", "job", "said"),
    [
        (BGE, QUERY | {"instruction": "find"}, "has no place for an instruction"),
        (QWEN, {"instruction": "find"}, "only a query's has one: say `is_query`"),
        ({"query": QWEN["query"]}, QUERY, "its profile has no default_instruction"),
    ],
)
def test_an_instruction_is_never_dropped(templates, job, said):
    with pytest.raises(FixRequest, match=said):
        wording(replace(JOB, **job), model(templates))


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ({"options": {"lor": 1}}, "did you mean 'lora'?"),
        ({"options": {"is_query": "yes"}}, "true or false, not 'yes'"),
        ({"options": {"pooling": "mean"}}, "set in a profile, not in a request"),
        ({"dimensions": 9}, "have 8 numbers, not 9"),
        ({"operation": "score", "query": Item(text="q"), "instruction": "x"}, "that is for encode"),
    ],
)
def test_a_worker_refuses_what_the_backend_does_not_declare_before_the_device(job, said):
    with pytest.raises(FixRequest) as refused:
        prepare(replace(JOB, **job), model({}), None)
    assert said in refused.value.message
    assert refused.value.status == 400


def test_an_execution_process_that_declares_nothing_is_left_its_options():
    older = replace(model({}), options=None)
    assert prepare(replace(JOB, options={"own": 1}), older, None).inputs


def test_a_vector_that_is_cut_is_what_sentence_transformers_gives_with_truncate_dim():
    from sentence_transformers.util import truncate_embeddings

    vectors = torch.nn.functional.normalize(
        torch.randn(5, 384, generator=torch.Generator().manual_seed(1)), dim=1
    )
    for width in (1, 7, 128, 384):
        wanted = torch.nn.functional.normalize(truncate_embeddings(vectors, width), dim=1)
        found = kept(vectors.numpy(), width)
        assert found.shape == (5, width)
        assert np.abs(found - wanted.numpy()).max() <= 2e-7
        assert np.abs(kept(vectors[0].numpy(), width) - wanted[0].numpy()).max() <= 2e-7
    assert kept(np.zeros(4, np.float32), 2).tolist() == [0, 0]
    given = vectors.numpy() * 3
    assert kept(given, 384) is given, "nothing is cut: as the model gives it"


def test_an_adapter_is_on_the_bare_model_unless_a_request_names_both():
    tasks = TaskForm(words={"match": "m: ", "passage": "p: "}, sides={"document": "passage"})
    loaded = replace(model({}, tasks=tasks), options=None)
    adapted = replace(JOB, adapter=AdapterPin("legal", "r"))
    assert [task_of(job, loaded) for job in (JOB, adapted)] == ["passage", ""]
    check_options(adapted, loaded)
    with pytest.raises(FixRequest, match="the adapter legal and the task match"):
        check_options(replace(adapted, options={"task": "match"}), loaded)
