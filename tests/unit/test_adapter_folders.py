"""Adapters as libraries save them: the library's own answers over a model, or a refusal by name."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentence_transformers as st
import torch
import transformers as tf
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tests.support.conformance import TEXTS, Answerer, load, save_small
from tests.support.sameness import assert_same
from tests.support.scored import write_json
from tests.support.small_tokenizers import small_tokenizer

from sie_cli.models.bases import judged
from sie_cli.models.examining import Found, Wanted
from sie_cli.models.proposal import propose
from sie_layouts.folder import FolderFiles
from sie_schemas import ipc
from sie_schemas.errors import OurFault
from sie_schemas.jobs import AdapterPin
from sie_server.weights.sources import Weights

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

_PIN = AdapterPin("tuned", "1")
_SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 70,
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as sentence-transformers saves it."""
    folder = tmp_path_factory.mktemp("adapters")
    tokenizer = small_tokenizer("Bert", model_max_length=40)
    config = tf.BertConfig(vocab_size=len(tokenizer), **_SIZES)
    one = Transformer(str(save_small(folder / "plain", tf.BertModel(config), tokenizer)))
    torch.manual_seed(5)
    modules = [one, Pooling(16, "mean"), Dense(16, 8), Normalize()]
    model = st.SentenceTransformer(modules=modules, prompts={"query": "one: "}, device="cpu")
    model.save(str(folder / "base"), create_model_card=False)
    return folder / "base"


@pytest.fixture
def tuned(base: Path, tmp_path: Path) -> Path:
    """An adapter of it, saved by the same library."""
    model = st.SentenceTransformer(str(base), device="cpu")
    torch.manual_seed(11)
    model.add_adapter(
        LoraConfig(r=4, lora_alpha=6, target_modules=["query", "dense"], init_lora_weights=False)
    )
    model.save(str(tmp_path / "tuned"), create_model_card=False)
    return tmp_path / "tuned"


def _adapted(base: Path, adapter: Path) -> Answerer:
    answerer = Answerer(load(base))
    answerer.backend.load_adapter(_PIN, Weights(adapter, None))
    return answerer


def test_an_adapter_that_sentence_transformers_saved_answers_as_that_library(base, tuned):
    found = propose(FolderFiles(tuned), takes_pickles=False)
    assert (found.kind, found.refusals) == ("adapter", ())
    answerer = _adapted(base, tuned)
    ours = _vectors(answerer, _PIN, TEXTS)
    reference = st.SentenceTransformer(str(tuned), device="cpu")
    expected = np.stack([reference.encode([text])[0] for text in TEXTS])
    assert_same(ours, expected)
    assert np.abs(ours - answerer.vectors(TEXTS)).max() > 1e-2


def _other_pooling(folder: Path) -> None:
    write_json(folder / "1_Pooling/config.json", pooling_mode="cls")


def _other_prompt(folder: Path) -> None:
    write_json(folder / "config_sentence_transformers.json", prompts={"query": "two: "})


def _shorter(folder: Path) -> None:
    write_json(folder / "tokenizer_config.json", model_max_length=12)


def _trained_dense(folder: Path) -> None:
    file = folder / "2_Dense/model.safetensors"
    save_file({name: one + 0.1 for name, one in load_file(file).items()}, file)


def _not_normal(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(modules[:-1]))


def _unknown(folder: Path) -> None:
    write_json(folder / "1_Pooling/config.json", weighs=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_other_pooling, "document 1 modes 0 is 'cls' there, and 'mean' of the model"),
        (_other_prompt, "prompts query is 'two: ' there, and 'one: ' of the model"),
        (_shorter, "document 0 text tokens_max is 12 there, and 40 of the model"),
        (_trained_dense, "document 2 file is"),
        (_not_normal, "document 3 is None there, and 'NormalizeStep' of the model"),
        (_unknown, "1_Pooling/config.json: weighs is true"),
    ],
)
def test_steps_beside_an_adapter_that_are_not_its_models_are_refused(base, tuned, change, said):
    change(tuned)
    with pytest.raises(OurFault, match="was saved with steps of its own") as refused:
        _adapted(base, tuned)
    assert said in refused.value.message
    assert refused.value.code == "ADAPTER_LOAD_FAILED"
    assert said in _over(base, tuned)[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"target_modules": ["dense"]}, "self.query, which adapter_config.json does not target"),
        ({"target_modules": ".*query"}, "does not target"),
        ({"exclude_modules": ["query"]}, "does not target"),
        ({"layers_to_transform": [1]}, "layer.0.attention.output.dense, which"),
        ({"target_modules": "(a+)+"}, "could take for ever"),
        ({"layers_pattern": 1.5, "layers_to_transform": 1}, "layers_pattern is 1.5, and the name"),
        ({"kasa_config": {}}, "singular values (KaSA)"),
        ({"r": None}, "r is None, and a number is wanted"),
        ({"r": 5}, "which do not fit rank 5"),
        ({"rank_pattern": {"query": 2}}, "which do not fit rank 2"),
        ({"rank_pattern": {"(": 2}}, "no valid expression"),
        ({"rank_pattern": ["query"]}, "is no table of expressions"),
        ({"alpha_pattern": {"query": "much"}}, "lora_alpha of the config is 'much'"),
        ({"alpha_pattern": {"(a+)+": 2}}, "could take for ever"),
    ],
)
def test_an_adapter_that_peft_would_put_elsewhere_is_refused_when_added(base, tuned, change, said):
    """It leaves out what the config does not target; all tensors were applied, without a word."""
    write_json(tuned / "adapter_config.json", **change)
    assert said in str(propose(FolderFiles(tuned), takes_pickles=False).refusals[0])
    with pytest.raises(OurFault) as refused:
        _adapted(base, tuned)
    assert said in refused.value.message


def _twice(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"base_model.model.{name}": each for name, each in tensors.items()}


def _halved(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: each for name, each in tensors.items() if "lora_B" not in name}


def _counted(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: each.to(torch.int8) for name, each in tensors.items()}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_twice, "as an adapter put on another; peft finds none so"),
        (_halved, "has only one of the two factors of"),
        (_counted, "of I8, and floating-point numbers are wanted"),
        (lambda tensors: {}, "holds no tensors"),
    ],
)
def test_weights_that_are_no_pairs_of_factors_are_refused_when_added(base, tuned, change, said):
    file = tuned / "adapter_model.safetensors"
    save_file(change(load_file(file)), file)
    (refusal,) = propose(FolderFiles(tuned), takes_pickles=False).refusals
    assert said in str(refusal)
    with pytest.raises(OurFault) as refused:
        _adapted(base, tuned)
    assert said in refused.value.message


@pytest.mark.parametrize(
    "targets",
    [
        {"target_modules": r".*layer\.[0-1]\.attention\.self\.(query|key)"},
        {"target_modules": ["query", "key"], "layers_to_transform": 1, "layers_pattern": "layer"},
        {"target_modules": "all-linear", "exclude_modules": ["pooler.dense"]},
    ],
)
def test_an_adapter_that_peft_saved_targets_its_own_tensors(base, tmp_path, targets):
    model = st.SentenceTransformer(str(base), device="cpu")
    model.add_adapter(LoraConfig(r=2, **targets))
    model.save(str(tmp_path / "tuned"), create_model_card=False)
    assert propose(FolderFiles(tmp_path / "tuned"), takes_pickles=False).refusals == ()


@pytest.mark.parametrize("word", [False, None, True, "gaussian"])
def test_factors_that_peft_would_draw_at_random_are_refused_by_name(base, tuned, word):
    """Two loads of such a folder answered otherwise, and were answered here as if it had none."""
    file, missing = tuned / "adapter_model.safetensors", "encoder.layer.1.attention.self.query"
    save_file({n: one for n, one in load_file(file).items() if missing not in n}, file)
    write_json(tuned / "adapter_config.json", init_lora_weights=word)
    loaded = [st.SentenceTransformer(str(tuned), device="cpu") for _ in range(2)]
    first, second = (model.encode(list(TEXTS[:1])) for model in loaded)
    if word:
        assert _over(base, tuned) == ()
        assert_same(first, second)
        assert_same(_vectors(_adapted(base, tuned), _PIN, TEXTS[:1]), first)
        return
    assert np.abs(first - second).max() > 1e-3
    said = f"has no factors of {missing}, which the config targets"
    assert said in _over(base, tuned)[0]
    with pytest.raises(OurFault, match=said):
        _adapted(base, tuned)


def _over(base: Path, adapter: Path) -> tuple[str, ...]:
    """The refusals of `sie add --adapter-of` beyond the adapter's own files."""
    proposal = propose(FolderFiles(adapter), takes_pickles=False)
    assert proposal.refusals == ()
    found = Found(proposal, {}, "tuned", opened=FolderFiles(adapter))
    profiles = {"default": {"backend": "transformer"}}
    source = {"type": "path", "path": str(base)}
    document = {"source": source, "tasks": {"encode": {}}, "profiles": profiles}
    told = judged(found, Wanted("tuned", adapter_of="its/model"), lambda _: document)
    return tuple(map(str, told.proposal.refusals))


def _deeper(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.replace("layer.1.", "layer.2."): each for name, each in tensors.items()}


def _wider(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    wide = "layer.0.output.dense.lora_B"
    return {n: torch.cat([one, one]) if wide in n else one for n, one in tensors.items()}


@pytest.mark.parametrize("kind", ["bert", "roformer", "roformer with its head's names"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict, ""),
        (_deeper, "encoder.layer.2.attention.output.dense, which its model lacks"),
        (_wider, "encoder.layer.0.output.dense for [32, 24], and its model's is [16, 24]"),
    ],
)
def test_an_adapter_of_another_models_layers_is_refused_when_added(
    base, tuned, tmp_path, kind, change, said
):
    """Of a family that is declared, and of one whose file alone tells its layers."""
    if kind != "bert":
        shutil.copytree(base, tmp_path / "base")
        base = tmp_path / "base"
        write_json(base / "config.json", model_type="roformer")
        start = "roformer." if "head" in kind else ""
        held = load_file(base / "model.safetensors")
        save_file({f"{start}{name}": one for name, one in held.items()}, base / "model.safetensors")
    file = tuned / "adapter_model.safetensors"
    save_file(change(load_file(file)), file)
    refusals = _over(base, tuned)
    assert len(refusals) == bool(said)
    assert said in "".join(refusals)
    if kind == "bert" and said:
        with pytest.raises(OurFault):
            _adapted(base, tuned)


def test_a_model_with_an_adapter_inside_its_folder_is_refused(base, tuned, tmp_path):
    """Its library would put it on, which no revision and no request names."""
    for name in ("config.json", "model.safetensors"):
        (tuned / name).write_bytes((base / name).read_bytes())
    (refusal,) = propose(FolderFiles(tuned), takes_pickles=False).refusals
    assert "beside the weights of a whole model" in str(refusal)
    with pytest.raises(OurFault, match=r"adapter_config\.json"):
        load(tuned)


_MORE: dict[str, tuple[Any, ...]] = {
    "a_later_key": (1, {}),
    "alora_invocation_tokens": ([3],),
    "arrow_config": ({},),
    "bias": ("lora_only", "all"),
    "fan_in_fan_out": (True,),
    "init_lora_weights": ("pissa", "pissa_niter_4", "olora", "corda", "loftq", "lora_ga"),
    "kasa_config": ({},),
    "layer_replication": ([[0, 1], [0, 1]],),
    "lora_bias": (True,),
    "megatron_config": ({},),
    "modules_to_save": (["classifier"],),
    "monteclora_config": ({},),
    "peft_type": ("LOHA",),
    "target_parameters": (["query.weight"],),
    "trainable_token_indices": ([1], {"embed": [1]}),
    "use_bdlora": (True,),
    "use_dora": (True,),
    "use_qalora": (True,),
    "velora_config": ({},),
}
"""Values with which it is more than low-rank products, or one of which nobody here knows."""
_EQUAL: dict[str, tuple[Any, ...]] = {
    "alpha_pattern": ({r"layer\.0\..*query": 9}, {"query|0.output.dense": 1.5}),
    "auto_mapping": (None,),
    "base_model_name_or_path": (),  # its own library loads that
    "corda_config": (None,),
    "ensure_weight_tying": (False,),
    "eva_config": ({"rho": 1.5},),
    "exclude_modules": (["value"],),
    "inference_mode": (True,),
    "init_lora_weights": ("gaussian", "eva", "mica", "orthogonal", True),
    "layers_pattern": (None,),  # with `layers_to_transform` alone: see above
    "layers_to_transform": ([],),
    "loftq_config": ({},),
    "lora_alpha": (7, 0.5),
    "lora_dropout": (0.3,),
    "lora_ga_config": (None,),
    "megatron_core": ("megatron.core",),
    "peft_version": ("0.1",),
    "qalora_group_size": (8,),
    "r": (4,),
    "rank_pattern": ({"query": 4},),
    "revision": (None,),
    "runtime_config": (None,),
    "target_modules": (r".*(query|dense)",),
    "task_type": ("FEATURE_EXTRACTION",),
    "use_rslora": (True,),
}
"""Values with which peft's own vectors are answered."""


def test_every_key_of_pefts_config_is_judged():
    """A key that a later peft has is one of either, before it is installed here."""
    assert {each.name for each in fields(LoraConfig)} == (_MORE.keys() | _EQUAL.keys()) - {
        "a_later_key"
    }


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, vs in _MORE.items() for v in vs])
def test_an_adapter_that_is_more_is_refused_before_anything_is_written(tuned, key, value):
    write_json(tuned / "adapter_config.json", **{key: value})
    (refusal,) = propose(FolderFiles(tuned), takes_pickles=False).refusals
    assert refusal.source == f"adapter_config.json: {key}"


def test_an_adapter_of_any_other_key_answers_as_peft(base, tuned):
    answerer = Answerer(load(base))
    for number, (key, value) in enumerate((k, v) for k, vs in _EQUAL.items() for v in vs):
        _vary(tuned, key, value)
        assert propose(FolderFiles(tuned), takes_pickles=False).refusals == (), (key, value)
        pin = AdapterPin(f"tuned-{number}", "1")
        answerer.backend.load_adapter(pin, Weights(tuned, None))
        reference = st.SentenceTransformer(str(tuned), device="cpu")
        assert_same(
            _vectors(answerer, pin, TEXTS[:2]),
            np.stack([reference.encode([text])[0] for text in TEXTS[:2]]),
        )


def _vary(folder: Path, key: str, value: Any) -> None:
    """The config as it was saved, but for one key."""
    path = folder / "adapter_config.json"
    saved = path.with_suffix(".saved")
    if not saved.is_file():
        saved.write_bytes(path.read_bytes())
    path.write_text(json.dumps({**json.loads(saved.read_text()), key: value}))


def _vectors(answerer: Answerer, pin: AdapterPin, texts: Sequence[str]) -> Any:
    inputs = tuple(answerer.inputs(texts, "document"))
    batch = ipc.RunBatch(id=1, model_revision="r1", operation="encode", inputs=inputs, adapter=pin)
    answers = answerer.backend.run(batch)
    assert isinstance(answers, ipc.DenseAnswers)
    return np.frombuffer(answers.values, "<f4").reshape(len(texts), answers.dim)


def test_a_pickled_adapter_of_a_folder_is_refused_and_one_of_a_hub_is_converted(tuned):
    (tuned / "adapter_model.safetensors").rename(tuned / "adapter_model.bin")
    (refusal,) = propose(FolderFiles(tuned), takes_pickles=False).refusals
    assert "is a pickle" in str(refusal)
    assert propose(FolderFiles(tuned), takes_pickles=True).refusals == ()
