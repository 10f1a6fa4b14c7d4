"""A folder that could be two things is the one that its files say, or that the command asks for."""

import json
from collections.abc import Mapping
from math import prod
from typing import Any

import pytest

from sie_cli.models.proposal import Proposal, propose
from sie_layouts.architectures.tensors.declared import wanted
from sie_layouts.architectures.tensors.families import Head
from sie_schemas.errors import FixRequest

_DECODER = {
    "architectures": ["Qwen3ForCausalLM"],
    "hidden_size": 16,
    "model_type": "qwen3",
    "max_position_embeddings": 64,
}
_WORDS = {"architectures": ["BertForMaskedLM"], "hidden_size": 16, "model_type": "bert"}
_LABELS = {
    "architectures": ["BertForSequenceClassification"],
    "id2label": {"0": "no", "1": "yes"},
    "model_type": "bert",
}
_ROLES = {"chat_template": "{% if role == 'query' %}q{% elif role == 'document' %}d{% endif %}"}


def _header(config: Mapping[str, Any]) -> bytes:
    """The header of weights that have all that a config asks for, with any head."""
    heads: tuple[Head, ...] = ("classes", "decoder", "masked_language", "none", "tokens")
    table = {}
    for head in heads:
        for each in wanted(config, head):
            assert each.shape is not None
            size = 4 * prod(each.shape)
            table[each.names[0]] = {"dtype": "F32", "shape": each.shape, "data_offsets": [0, size]}
    text = json.dumps(table).encode()
    return len(text).to_bytes(8, "little") + text


class _Written:
    """The files of a repository, by their contents."""

    def __init__(self, files: Mapping[str, Any]) -> None:
        self._files = {
            name: (text if isinstance(text, str) else json.dumps(text)).encode()
            for name, text in {"tokenizer.json": "{}", **files}.items()
        }
        self._files.setdefault("model.safetensors", _header(files["config.json"]))

    def names(self) -> Mapping[str, int]:
        # As of a hub that does not say: a header alone stands for the weights.
        return dict.fromkeys(self._files, 0)

    def read(self, name: str) -> bytes | None:
        return self._files.get(name)

    def head(self, name: str, count: int) -> bytes | None:
        content = self._files.get(name)
        return None if content is None else content[:count]


def _card(**front: Any) -> str:
    return f"---\n{json.dumps(front)}\n---\n# A model\n"


def _proposed(config: Mapping[str, Any], name: str = "org/m", **given: Any) -> Proposal:
    files = _Written({"config.json": config, **given.pop("files", {})})
    return propose(files, takes_pickles=False, name=name, **given)


def _told(found: Proposal) -> dict[str, str]:
    return {fact.name: fact.source for fact in found.facts}


def test_a_bare_decoder_of_which_no_file_says_what_it_is_for_is_asked_about():
    found = _proposed(_DECODER)
    (refusal,) = found.refusals
    assert str(refusal) == (
        "config.json: architectures is of a decoder, which makes vectors or judges pairs, and no "
        "file says which; say --task encode or --task score"
    )
    assert not found.tasks


@pytest.mark.parametrize(
    ("name", "files", "given", "task", "source"),
    [
        ("Qwen/Qwen3-Reranker-0.6B", {}, {}, "score", "the name Qwen/Qwen3-Reranker-0.6B"),
        ("org/some-embedder", {}, {}, "encode", "the name org/some-embedder"),
        ("org/m", {"README.md": _card(pipeline_tag="sentence-similarity")}, {}, "encode", "README"),
        ("org/qwen-embedding", {"README.md": _card(tags=["reranker"])}, {}, "score", "README"),
        ("org/qwen-rerank", {}, {"task": "encode"}, "encode", "--task"),
        ("org/qwen-embedding", {}, {"task": "score"}, "score", "--task"),
    ],
)
def test_a_bare_decoder_is_for_what_a_person_its_card_or_its_name_says(
    name, files, given, task, source
):
    more = {"template": "qwen3"} if task == "score" and "rerank" not in name.lower() else {}
    found = _proposed(_DECODER, name, files=files, **given, **more)
    assert found.refusals == ()
    assert list(found.tasks) == [task]
    assert found.backend == {"encode": "transformer", "score": "cross-encoder"}[task]
    facts = [fact for fact in found.facts if fact.name == "task"]
    assert [fact.source.startswith(source) for fact in facts] == [True]
    assert found.options == ({"pair_template": "qwen3"} if task == "score" else {})


def test_a_card_that_contradicts_itself_decides_nothing():
    found = _proposed(_DECODER, files={"README.md": _card(tags=["reranker", "feature-extraction"])})
    assert "--task" in str(found.refusals[0])
    broken = _proposed(_DECODER, files={"README.md": "---\n: [\n---\n"})
    assert "--task" in str(broken.refusals[0])


def test_a_card_that_is_nested_in_itself_decides_nothing():
    """A few hundred bytes, of which the whole text would have a billion."""
    nested = "a0: &a0 [reranker]\n" + "".join(
        f"a{place}: &a{place} [{', '.join([f'*a{place - 1}'] * 10)}]\n" for place in range(1, 10)
    )
    card = f"---\n{nested}tags: [*a9]\npipeline_tag: *a9\n---\n"
    found = _proposed(_DECODER, files={"README.md": card})
    assert "--task" in str(found.refusals[0])


def test_a_judge_whose_words_around_a_pair_no_file_says_is_asked_about():
    found = _proposed({**_DECODER, "model_type": "llama"}, "org/llama-reranker")
    assert "say --template bge-gemma|mxbai-v2|qwen3|zerank" in str(found.refusals[0])
    own = _proposed({**_DECODER, "model_type": "llama"}, "org/llama-reranker", template="{query}?")
    assert own.options == {"pair_template": "{query}?"}
    roles = _proposed(
        {**_DECODER, "model_type": "llama"},
        "org/llama-reranker",
        files={"tokenizer_config.json": _ROLES},
    )
    assert (roles.refusals, dict(roles.options)) == ((), {}), "its chat template says them"


def test_a_classifier_of_labels_scores_only_where_somebody_says_so():
    assert list(_proposed(_LABELS, "org/topics").tasks) == ["extract"]
    assert list(_proposed(_LABELS, "org/my-reranker").tasks) == ["score"]
    assert list(_proposed(_LABELS, "org/topics", task="score").tasks) == ["score"]
    asked = _proposed(_LABELS, "org/my-reranker", task="extract")
    assert list(asked.tasks) == ["extract"]


def test_a_bare_model_of_words_is_sparse_where_its_card_or_its_name_says_so():
    assert _proposed(_WORDS, "org/plain-bert").tasks == {"encode": {"outputs": ["dense"]}}
    for name, files in (
        ("org/splade-mine", {}),
        ("org/plain", {"README.md": _card(tags=["sparse-encoder"])}),
    ):
        found = _proposed(_WORDS, name, files=files)
        assert found.tasks == {"encode": {"outputs": ["sparse"]}}
        assert "vectors" in _told(found)


def test_weights_of_query_tokens_that_no_library_reads_are_refused():
    found = _proposed(_WORDS, "org/sparse-doc", files={"idf.json": {"a": 1.0}})
    assert "idf.json weighs the tokens of queries" in str(found.refusals[0])


@pytest.mark.parametrize("given", [{"task": "score"}, {"template": "qwen3"}])
def test_words_that_are_for_another_model_are_refused(given):
    with pytest.raises(FixRequest, match="leave"):
        _proposed(_WORDS, "org/plain-bert", **given)
