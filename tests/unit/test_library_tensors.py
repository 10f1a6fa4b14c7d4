"""The table of names that `sie add` has of families that nobody declared: the library's own.

One tensor too few is refused when a folder is added, exactly where a worker would refuse it.
"""

import json

import pytest
import transformers as tf
from safetensors.torch import load_file, save_file
from tests.support.conformance import load, save_small
from tests.support.library_tensors import asked, config_of, entry, kinds
from tests.support.small_tokenizers import small_tokenizer

from sie_cli.models.proposal import propose
from sie_layouts.architectures.tensors.declared import wanted
from sie_layouts.architectures.tensors.library import TABLE
from sie_layouts.folder import FolderFiles
from sie_schemas.errors import OurFault

_TABLE = json.loads(TABLE.read_text())


def test_each_family_of_the_library_is_in_the_table_and_asks_for_all_that_is_written() -> None:
    """Those without a line of their own are null, so that a new family is not forgotten."""
    assert list(_TABLE) == kinds()
    for kind in (each for each, told in _TABLE.items() if told is not None):
        config = config_of(kind)
        for head in ("none", *_TABLE[kind][-1]):
            needed = list(wanted(config.to_dict(), head))
            names = asked(config, head)
            assert names is not None
            assert len(needed) > 4, (kind, head)
            plain = {each.names[0] for each in wanted(config.to_dict(), "none")}
            # A tied one may be in a file under either name, and is asked for by the first.
            assert {each.names[0] for each in needed} <= names | plain, (kind, head)


@pytest.mark.parametrize("kind", ["big_bird", "canine", "opt", "xlm", "zamba"])
def test_the_table_is_what_the_program_makes_of_the_library(kind: str) -> None:
    made = entry(kind)
    assert json.loads(json.dumps(made)) == _TABLE[kind]


_SIZES = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32}
_CONFIGS: dict[str, dict[str, object]] = {
    "big_bird": {"intermediate_size": 48, "attention_type": "original_full", "use_bias": False},
    "gpt2": {"type_vocab_size": 2},
    "mra": {"intermediate_size": 48},
    "roformer": {"intermediate_size": 48},
    "xlm": {"use_lang_emb": False},
}
_LEFT = ("embeddings.position_ids",)
"""No weight, and left to the loader."""


@pytest.mark.parametrize("kind", _CONFIGS)
def test_a_tensor_less_is_refused_when_added_where_a_worker_refuses_it(kind, tmp_path):
    tokenizer = small_tokenizer("Roberta")
    config = tf.AutoConfig.for_model(
        kind, vocab_size=len(tokenizer), max_position_embeddings=130, **_SIZES, **_CONFIGS[kind]
    )
    folder = save_small(tmp_path, tf.AutoModel.from_config(config), tokenizer)
    assert propose(FolderFiles(folder), takes_pickles=False).refusals == ()
    path = folder / "model.safetensors"
    tensors = load_file(path)
    for gone in sorted(each for each in tensors if each not in _LEFT)[::5]:
        rest = {name: each for name, each in tensors.items() if name != gone}
        save_file(rest, path, {"format": "pt"})
        refusals = propose(FolderFiles(folder), takes_pickles=False).refusals
        assert f"lacks 1 tensors of the model that config.json describes: {gone}" in str(refusals)
        with pytest.raises(OurFault, match="lacks 1 tensors"):
            load(folder)
