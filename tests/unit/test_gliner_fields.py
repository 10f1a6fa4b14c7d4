"""The values of a `gliner_config.json`, judged by the authors' library: what ends it is refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.apart import apart, forgotten
from tests.support.gliner_models import write_gliner

from sie_cli.models.proposal import propose
from sie_layouts.folder import FolderFiles

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


@pytest.fixture(autouse=True, scope="module")
def _here_alone() -> Iterator[None]:
    with forgotten("gliner"):
        yield


_UNTYPED = {"hidden_size": 16, "num_hidden_layers": 1, "vocab_size": 300}
"""The library takes it for a DeBERTa, which is not what the weights are of."""
_BOTH: tuple[dict[str, Any], ...] = (
    *({"max_len": value} for value in (0, -1, "x", None, 1.5)),
    *({"max_width": value} for value in (0, "x", None)),
    *({"subtoken_pooling": value} for value in ("nope", None, "maen", "mean")),
    *({"num_rnn_layers": value} for value in (0, -1, "1", 2, None)),
    *({"hidden_size": value} for value in (16, "x", 0)),
    *({"fuse_layers": True}, {"post_fusion_schema": "l2l-l2t"}, {"post_fusion_schema": "nope"}),
    *({"ent_token": value} for value in ("", None)),
    *({"sep_token": value} for value in ("", None)),
    *({"words_splitter_type": value} for value in (None, 3, "stanza")),
    *({"dropout": value} for value in (2, "x", 0.5, None)),
    *({"encoder_config": "x"}, {"encoder_config": _UNTYPED}),
    {"encoder_config": {"model_type": "nope"}},
    *({"_attn_implementation": value} for value in ("nope", "flash_attention_2", "eager")),
    *({"span_encoder_config": value} for value in ({}, {"model_type": "nope"})),
    *({"torch_dtype": value} for value in ("nope", "float32")),
    *({"relations_layer": ""}, {"labels_decoder": ""}, {"embed_ent_token": None}),
    *({"max_types": "x"}, {"unknown_key": 1}, {"label_names": ["a"]}, {"name": "x"}),
)
_OF_ONE: tuple[dict[str, Any], ...] = (
    *({"span_mode": value} for value in ("nope", None, "markerV1", "token-level", "query", "cat")),
    *({"span_mode": value} for value in ("mlp", "conv_mean", "conv_share", "markerV2")),
    *({"class_token_index": value} for value in (99999, "x", -7, None)),
    *({"ent_token": "person"}, {"span_encoder_config": {"model_type": "rnn"}}),
)
_UNSURE = ({"max_len": 0}, {"max_len": -1}, {"max_width": 0}, {"max_width": "x"},
           {"max_width": None}, {"ent_token": ""}, {"sep_token": ""}, {"sep_token": None},
           {"ent_token": None}, {"max_len": None}, {"labels_decoder": ""})  # fmt: skip
"""Those with which a model of one kind is told nothing, and one of the other ends."""


@pytest.mark.parametrize(
    ("kind", "changes"), [("uni-span", (*_BOTH, *_OF_ONE)), ("bi-token", _BOTH)]
)
def test_a_value_with_which_the_library_ends_is_refused_by_its_key(
    kind: str, changes: tuple[dict[str, Any], ...], tmp_path: Path
) -> None:
    """And a folder that it loads whole, and that answers, is none of those."""
    write_gliner(tmp_path, kind, "bert")
    folder = tmp_path / "model"
    config = folder / "gliner_config.json"
    given = json.loads(config.read_text())
    wrong = []
    for change in changes:
        config.write_text(json.dumps({**given, **change}))
        refusals = [
            str(each) for each in propose(FolderFiles(folder), takes_pickles=False).refusals
        ]
        ends = _ends(folder)
        (key,) = change
        # What is not there is refused by the file that lacks it.
        named = any(f": {key}" in each or each.startswith("model.safe") for each in refusals)
        if (ends and not named) or (refusals and not ends and change not in _UNSURE):
            wrong.append((change, ends, refusals))
    assert not wrong, "\n".join(map(str, wrong))


def _ends(folder: Path) -> str:
    """The reason why the library gives no answer of that model's own weights; empty if it does."""
    library = apart("gliner")
    try:
        model = library.GLiNER.from_pretrained(str(folder), local_files_only=True)
        wanted, held = set(model.model.state_dict()), _held(folder)
        if wanted - held or {name for name in held - wanted if "position_ids" not in name}:
            return "other tensors"
        model.inference(["Tim Cook spoke in Berlin", ""], ["person", "b"], threshold=0.0)
    except Exception as error:
        return repr(error)
    return ""


def _held(folder: Path) -> set[str]:
    from safetensors import safe_open

    with safe_open(str(folder / "model.safetensors"), framework="pt") as opened:
        return {*opened.keys(), *(opened.metadata() or {})} - {"format"}
