"""The tensors that an architecture is declared to need are those that transformers asks for.

What a folder's weights lack is refused when it is added, by their headers, and in the same words
where it is loaded.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from safetensors.torch import load_file, save_file
from tests.support.conformance import load, save_small
from tests.support.hub_mirror import HubMirror, hub_mirror
from tests.support.published_models import PUBLISHED
from tests.support.small_tokenizers import small_tokenizer
from transformers.models.auto.configuration_auto import model_type_to_module_name
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES,
)

from sie_cli.models.hub import open_revision
from sie_cli.models.proposal import propose
from sie_layouts.architectures.heads import HEADS_NOT_DONE
from sie_layouts.architectures.known_types import KNOWN_TYPES
from sie_layouts.architectures.lengths import UNLIMITED
from sie_layouts.architectures.tensors.declared import lacking, wanted
from sie_layouts.architectures.tensors.families import FAMILIES
from sie_layouts.architectures.tensors.headers import read_header
from sie_layouts.architectures.tensors.kin import KIN, LATER
from sie_layouts.architectures.unrunnable import CHUNKED
from sie_layouts.folder import FolderFiles
from sie_schemas.errors import OurFault
from sie_server.backends.forward.encoder import Encoder
from sie_server.backends.heads.class_heads import require_same, sequence_head, token_head
from sie_server.backends.heads.encode_heads import masked_language_head

_SIZES: dict[str, Any] = {
    "vocab_size": 120, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 130, "type_vocab_size": 3,
    "num_labels": 5, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2,
    "sep_token_id": 3,
}  # fmt: skip
_T5: dict[str, Any] = {"d_model": 32, "d_ff": 48, "d_kv": 6, "num_layers": 2, "num_heads": 4}
_BART: dict[str, Any] = {
    "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48,
}  # fmt: skip
_GEMMA: dict[str, Any] = {
    "vocab_size": 120, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
}  # fmt: skip
_SIGHT: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4,
}  # fmt: skip
_OTHER_SIZES: Mapping[str, dict[str, Any]] = {
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48},
    "electra": {"embedding_size": 24},
    "t5": _T5,
    "mt5": _T5,
    "umt5": _T5,
    "bart": _BART,
    "bigbird_pegasus": _BART,
    "mbart": _BART,
    "mvp": _BART,
    "plbart": _BART,
    "t5gemma": {"encoder": _GEMMA, "decoder": _GEMMA},
    "t5gemma2": {
        "encoder": {"text_config": _GEMMA, "vision_config": _SIGHT},
        "decoder": _GEMMA,
        "eoi_token_index": 5,
        "image_token_index": 6,
    },
    "ctrl": {"n_embd": 32, "n_layer": 2, "n_head": 4, "dff": 48},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "gpt-sw3": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "gpt_bigcode": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "openai-gpt": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "flaubert": {"emb_dim": 32, "n_layers": 2, "n_heads": 4},
    "xlm": {"emb_dim": 32, "n_layers": 2, "n_heads": 4},
    "albert": {"embedding_size": 16},
    "longformer": {"attention_window": [8, 8]},
    "convbert": {"embedding_size": 32},
    "canine": {"num_hash_buckets": 64},
    "git": {
        "vision_config": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4},
    },
    "luke": {"entity_vocab_size": 10},
    "layoutlmv3": {"coordinate_size": 6, "shape_size": 4},
    "lilt": {"hidden_size": 48},
    "reformer": {"axial_pos_embds_dim": [16, 16], "axial_pos_shape": [4, 8]},
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48},
    "xmod": {"default_language": "en_XX"},
}
_EVERY = {**FAMILIES, **KIN}
_ENCODED = ("mt5", "t5", "umt5")
_GROUPED = {"num_key_value_heads": 2, "head_dim": 8}
_CLASSES: Mapping[str, Any] = {
    "none": tf.AutoModel,
    "classes": tf.AutoModelForSequenceClassification,
    "tokens": tf.AutoModelForTokenClassification,
    "masked_language": tf.AutoModelForMaskedLM,
    "decoder": tf.AutoModelForCausalLM,
}
_NAMED_LATER = {"gte": "gte", "nomic_bert": "nomic_bert", "jina_embeddings_v3": "flash_roberta"}
_OF_TRANSFORMERS = sorted(_EVERY.keys() - {"alibi_bert", *LATER})


def _config(kind: str, **more: Any) -> tf.PreTrainedConfig:
    grouped = _GROUPED if _EVERY.get(kind) and _EVERY[kind].prefixes == ("model.",) else {}
    grouped = {} if kind == "modernbert" else grouped
    own = {**_SIZES, **grouped, **_OTHER_SIZES.get(kind, {}), **more}
    if kind == "xlnet":
        del own["max_position_embeddings"]  # it has no limit, and takes none
    return tf.AutoConfig.for_model(kind, **own)


_SWITCHES: Mapping[str, tuple[Any, ...]] = {
    "attention_bias": (True, False), "classifier_bias": (True,), "conv_kernel_size": (3,),
    "decoder_bias": (False,), "embedding_size": (32, 16),
    "feed_forward_proj": ("relu", "gated-gelu"), "inner_group_num": (2,), "mlp_bias": (True, False),
    "norm_bias": (True,), "norm_rel_ebd": ("layer_norm",), "num_groups": (2,),
    "num_hidden_groups": (2,),
    "pos_att_type": (["c2p"], ["p2c", "c2p"], "p2c"), "position_biased_input": (True, False),
    "position_buckets": (8,), "relative_attention": (True,), "share_att_key": (True,),
    "talking_head": (True,), "tie_word_embeddings": (True, False), "type_vocab_size": (0, 1, 2),
}  # fmt: skip
"""Keys on which it depends which tensors there are."""
_POOLER = "pooler."


def _other_configs(kind: str) -> Iterator[tf.PreTrainedConfig]:
    """One for each value of a switch, and those of a relative DeBERTa."""
    usual = _config(kind).to_dict()
    yield _config(kind)
    for key, values in _SWITCHES.items():
        for value in values:
            if key in usual and usual[key] != value:
                yield _config(kind, **{key: value})
    if "relative_attention" in usual:
        for kinds in (["c2p"], ["p2c", "c2p"]):
            yield _config(kind, relative_attention=True, pos_att_type=kinds, share_att_key=False)
        yield _config(kind, relative_attention=True, max_relative_positions=7)
        yield _config(kind, relative_attention=True, norm_rel_ebd="layer_norm", position_buckets=8)
    if kind == "modernbert":
        yield _config(kind, norm_bias=True, classifier_bias=True, num_hidden_layers=3)


@pytest.mark.parametrize("kind", [*_OF_TRANSFORMERS, *_NAMED_LATER])
def test_a_family_needs_all_that_transformers_asks_for_and_nothing_else(kind: str) -> None:
    """Whatever a config switches on or off: what is not declared is refused at the load, late."""
    family = LATER[_NAMED_LATER[kind]] if kind in _NAMED_LATER else _EVERY[kind]
    for config in _other_configs(kind):
        for head in ("none", *family.heads):
            made = tf.AutoModelForTextEncoding if kind in _ENCODED else _CLASSES[head]
            with torch.device("meta"):
                try:
                    model = made.from_config(config)
                except ValueError:
                    assert head == "tokens"  # which transformers has not for all of them
                    continue
            state = model.state_dict(keep_vars=True)
            asked = {name: tuple(each.shape) for name, each in state.items()}
            # A model with a head keeps the others behind this name, and one without takes them so.
            assert f"{model.base_model_prefix}." in family.prefixes
            needed = list(wanted(config.to_dict(), head, asked))
            assert len(needed) > 10
            for each in needed:
                shapes = [asked[name] for name in each.names if name in asked]
                assert shapes, (head, each)
                assert each.shape in (None, *shapes), (head, each)
            _require_all(state, {name for each in needed for name in each.names}, head)


def _require_all(state: Mapping[str, Any], declared: set[str], head: str) -> None:
    """Each tensor is declared, or another name of it is: one is enough of those that are tied."""
    known = {id(each) for name, each in state.items() if name in declared}
    left = [name for name, each in state.items() if id(each) not in known and each.numel()]
    # A vector is made without a pooler, which may be missing.
    assert [name for name in left if head != "none" or not name.startswith(_POOLER)] == [], head


@pytest.mark.parametrize("kind", _OF_TRANSFORMERS)
def test_sizes_that_a_config_leaves_out_are_those_of_transformers(kind: str) -> None:
    usual = tf.AutoConfig.for_model(kind).to_dict()
    for key, value in _EVERY[kind].usual.items():
        assert usual.get(key, value) == value, key


def _bert(folder: Path) -> Path:
    tokenizer = small_tokenizer("Bert")
    sizes = {**_SIZES, "vocab_size": len(tokenizer)}
    return save_small(folder, tf.BertModel(tf.BertConfig(**sizes)), tokenizer)


def _changed(folder: Path, how: str) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = "encoder.layer.1.output.dense.weight"
    if how == "lacks":
        del tensors[name]
    elif how == "another shape":
        tensors[name] = tensors[name][:, :-1].contiguous()
    elif how == "whole numbers":
        tensors[name] = tensors[name].to(torch.int8)
    elif how == "fewer layers":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    save_file(tensors, path, {"format": "pt"})


_SAID = {
    "lacks": r"lacks 1 tensors of the model that config\.json describes: encoder\.layer\.1\.output",
    "another shape": r"as \[32, 47\], and by config\.json it is \[32, 48\]",
    "whole numbers": "of I8, and floating-point numbers are wanted",
    "fewer layers": "lacks 16 tensors",
}


@pytest.mark.parametrize("how", _SAID)
def test_what_weights_lack_is_refused_when_added_and_when_loaded(how: str, tmp_path: Path) -> None:
    folder = _bert(tmp_path)
    assert propose(FolderFiles(folder), takes_pickles=False).refusals == ()
    _changed(folder, how)
    refusals = propose(FolderFiles(folder), takes_pickles=False).refusals
    assert len(refusals) == 1
    with pytest.raises(OurFault, match=_SAID[how]) as refused:
        load(folder)
    assert str(refusals[0]) in str(refused.value)


@pytest.mark.parametrize("prefix", ["module.", "auto_model.", "_orig_mod.module."])
def test_names_of_a_wrapper_are_refused_when_added_of_any_family(prefix, tmp_path):
    """A declared family lacks all its tensors then; of another nothing was said before the load."""
    tokenizer = small_tokenizer("Bert")
    config = tf.RoFormerConfig(**{**_SIZES, "vocab_size": len(tokenizer)})
    folder = save_small(tmp_path, tf.RoFormerModel(config), tokenizer)
    assert propose(FolderFiles(folder), takes_pickles=False).refusals == ()
    path = folder / "model.safetensors"
    tensors = {prefix + name: each for name, each in load_file(path).items()}
    save_file(tensors, path, {"format": "pt"})
    (refusal,) = propose(FolderFiles(folder), takes_pickles=False).refusals
    assert f"names each tensor {prefix}" in str(refusal)
    with pytest.raises(OurFault, match="as a wrapper does"):
        load(folder)


def test_a_size_that_transformers_does_not_read_is_refused_when_added(tmp_path: Path) -> None:
    """MPNet's forward makes 32 buckets, whatever its config says."""
    tokenizer = small_tokenizer("MPNet")
    config = tf.MPNetConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=48, max_position_embeddings=70, relative_attention_num_buckets=8,
    )  # fmt: skip
    folder = save_small(tmp_path, tf.MPNetModel(config), tokenizer)
    with pytest.raises(IndexError):
        tf.MPNetModel.from_pretrained(folder)(torch.tensor([[5, 6, 7]]))
    (refusal,) = propose(FolderFiles(folder), takes_pickles=False).refusals
    assert str(refusal).startswith("config.json: relative_attention_num_buckets is 8")
    with pytest.raises(OurFault, match="relative_attention_num_buckets is 8"):
        load(folder)


def test_families_without_a_length_are_those_of_transformers() -> None:
    of_texts = (MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
                MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES)  # fmt: skip
    # Of one the values that it has by itself are not valid, and one hears.
    kinds = (set().union(*of_texts) & KNOWN_TYPES) - {"gemma4_assistant", "whisper"}
    configs = {kind: tf.AutoConfig.for_model(kind) for kind in sorted(kinds | UNLIMITED)}
    found = {
        kind
        for kind, config in configs.items()
        # One without a vocabulary holds several models: their layouts are read in another way.
        if hasattr(config, "vocab_size")
        and (getattr(config, "max_position_embeddings", None) or 0) <= 0
    }
    assert found == UNLIMITED


def test_types_that_fail_at_a_text_between_two_chunks_are_those_of_transformers() -> None:
    of_texts = (MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
                MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
                MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES)  # fmt: skip
    library = Path(tf.models.__path__[0])
    chunking = {
        kind
        for kind in set().union(*of_texts) & KNOWN_TYPES
        for file in (library / model_type_to_module_name(kind)).glob("modeling_*.py")
        if "chunk_size_feed_forward" in file.read_text()
    }
    # One wants a package that is not installed, and one what another part makes of a text.
    kinds = (chunking | CHUNKED) - {"layoutlmv2", "perceiver"}
    assert {kind for kind in sorted(kinds) if _fails_between_chunks(kind)} == CHUNKED


def _fails_between_chunks(kind: str) -> bool:
    options = {**_SIZES, **_OTHER_SIZES.get(kind, {}), "chunk_size_feed_forward": 4}
    if kind in UNLIMITED:
        del options["max_position_embeddings"]
    model = tf.AutoModel.from_config(tf.AutoConfig.for_model(kind, **options)).eval()
    try:
        with torch.inference_mode():
            model(torch.tensor([[5, 6, 7, 8, 9]]))
    except ValueError as error:
        assert "has to be a multiple of the chunk size 4" in str(error), kind
        return True
    return False


def test_a_text_that_nothing_limits_is_refused_when_added_and_when_loaded(tmp_path: Path) -> None:
    tokenizer = small_tokenizer("T5", model_max_length=int(1e30))
    sizes = _SIZES | _OTHER_SIZES["t5"] | {"vocab_size": len(tokenizer)}
    folder = save_small(tmp_path, tf.T5EncoderModel(tf.T5Config(**sizes)), tokenizer)
    config = json.loads((folder / "config.json").read_text())
    config.pop("max_position_embeddings", None)
    (folder / "config.json").write_text(json.dumps(config))
    (refusal,) = propose(FolderFiles(folder), takes_pickles=False).refusals
    assert "no other file limits the length of a text" in str(refusal)
    with pytest.raises(OurFault, match="nothing limits the length"):
        load(folder)
    told = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**told, "model_max_length": 64}))
    assert propose(FolderFiles(folder), takes_pickles=False).refusals == ()
    load(folder)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_a_published_form_is_whole_and_each_tensor_counts(name: str, tmp_path: Path) -> None:
    folder = PUBLISHED[name]().write(tmp_path)
    files = FolderFiles(folder)
    assert lacking(files, "", "none") == ()
    path = folder / "model.safetensors"
    tensors = load_file(path)
    gone = next(each for each in tensors if each.endswith(("Wqkv.weight", "output.dense.weight")))
    del tensors[gone]
    save_file(tensors, path, {"format": "pt"})
    assert "lacks 1 tensors" in str(lacking(files, "", "none"))


def test_shards_and_old_names_of_norms_are_whole(tmp_path: Path) -> None:
    folder = _bert(tmp_path)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("Norm.bias", "Norm.beta"): each
        for name, each in tensors.items()
    }
    half = sorted(old)[::2]
    parts = {"a.safetensors": half, "b.safetensors": sorted(old.keys() - set(half))}
    for file, names in parts.items():
        save_file({f"bert.{name}": old[name] for name in names}, folder / file, {"format": "pt"})
    listed = {f"bert.{name}": file for file, names in parts.items() for name in names}
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": listed})
    )
    path.unlink()
    files = FolderFiles(folder)
    assert lacking(files, "", "none") == ()
    load(folder)
    (folder / "b.safetensors").write_bytes((folder / "b.safetensors").read_bytes()[:-8])
    assert "cut short" in str(lacking(files, "", "none")[0])


class _One:
    """One file, of which the hub says no size."""

    def __init__(self, content: bytes) -> None:
        self.content, self.asked = content, 0

    def names(self) -> Mapping[str, int]:
        return {"x": 0}

    def read(self, name: str) -> bytes | None:
        raise AssertionError("a whole file of weights is read")

    def head(self, name: str, count: int) -> bytes | None:
        self.asked = max(self.asked, count)
        return self.content[:count]


def _header(text: str) -> bytes:
    return len(text).to_bytes(8, "little") + text.encode()


_ONE = '{"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}'
_HOSTILE = {
    "an empty file": b"",
    "a length above all": (1 << 62).to_bytes(8, "little") + b"{}",
    "no length": bytes(8) + b"{}",
    "a pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n",
    "text that ends": _header('{"a": ' + _ONE + "}")[:-3],
    "no JSON": _header("{]"),
    "a list": _header("[]"),
    "deep": _header("[" * 100_000),
    "twice": _header(f'{{"a": {_ONE}, "a": {_ONE}}}'),
    "a negative size": _header('{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [4, 0]}}'),
    "true": _header('{"a": {"dtype": "F32", "shape": [true], "data_offsets": [0, 4]}}'),
    "another type": _header('{"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}'),
    "a shape of its own": _header('{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}'),
    "a power": _header(
        '{"a": {"dtype": "F32", "shape": ' + str([1 << 47] * 9) + ', "data_offsets": [0, 4]}}'
    ),
}
_TOLD = {
    "an empty file": "no header of safetensors",
    "no length": "no header of safetensors",
    "a length above all": "at most 8388608 are read",
    "a pointer": "git lfs pull",
    "text that ends": "ends inside its header",
}


@pytest.mark.parametrize("kind", _HOSTILE)
def test_a_hostile_header_is_refused_and_little_is_read(kind: str) -> None:
    files = _One(_HOSTILE[kind])
    with pytest.raises(ValueError, match=_TOLD.get(kind, "is damaged")):
        read_header(files, "x")
    assert files.asked <= 8 * 1024**2 + 8


@pytest.mark.parametrize("beyond", [-1, 0, 1, 5000])
def test_a_header_that_ends_about_where_the_first_part_does_is_read_whole_or_refused(
    beyond: int,
) -> None:
    whole = 64 * 1024 + beyond
    content = _header(f'{{"a": {_ONE}}}'.ljust(whole - 8)) + bytes(4)
    files = _One(content)
    assert read_header(files, "x").keys() == {"a"}
    assert files.asked <= max(whole, 64 * 1024)
    with pytest.raises(ValueError, match="ends inside its header"):
        read_header(_One(content[: whole - 1]), "x")


def test_of_a_hub_the_beginning_of_the_weights_is_fetched_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _bert(tmp_path)
    _changed(folder, "lacks")
    with hub_mirror() as mirror:
        assert isinstance(mirror, HubMirror)
        commit = "a" * 40
        mirror.repositories["org/model", commit] = folder
        mirror.branches["org/model", "main"] = commit
        revision = open_revision("org/model", environ={"HF_ENDPOINT": mirror.url})
        try:
            assert (
                revision.head("model.safetensors", 5)
                == ((folder / "model.safetensors").read_bytes()[:5])
            )
            found = propose(revision, takes_pickles=True, name="org/model")
        finally:
            revision.close()
    assert "lacks 1 tensors" in str(found.refusals[0])


_NOT_DONE = [
    (head, kind) for head, kinds in sorted(HEADS_NOT_DONE.items()) for kind in sorted(kinds)
]


@pytest.mark.parametrize(("head", "kind"), _NOT_DONE)
def test_a_head_that_is_refused_by_name_is_one_that_no_worker_runs(head: str, kind: str) -> None:
    torch.manual_seed(1)
    model = _CLASSES[head].from_config(_config(kind)).eval().requires_grad_(False)
    with pytest.raises(OurFault, match="known"):
        if head == "masked_language":
            masked_language_head(model)
        else:
            made = token_head(model) if head == "tokens" else sequence_head(model)
            encoder = Encoder(model.base_model, device=torch.device("cpu"))
            require_same(model, encoder, made)


def test_each_head_of_pairs_behind_a_decoder_is_refused_by_name() -> None:
    """A config.json may leave out that its class has one, so the type tells it."""
    behind = {
        kind
        for kind in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES.keys() & KNOWN_TYPES
        if getattr(tf.CONFIG_MAPPING[kind], "is_encoder_decoder", False) is True
    }
    assert {"bart", "t5", "t5gemma"} <= behind <= HEADS_NOT_DONE["classes"]


def test_sizes_of_thousands_of_digits_are_left_to_the_loader() -> None:
    """Their products have more digits than Python writes, and a refusal would be a traceback."""
    large = dict.fromkeys(("num_attention_heads", "num_key_value_heads", "head_dim"), 10**4000)
    shapes = [str(each.shape) for each in wanted({"model_type": "qwen3", **large}, "none")]
    assert len(shapes) > 10
