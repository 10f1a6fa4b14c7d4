"""Model folders in whose config.json one value is another: a person's edit, or another library's.

The law: where the reference fails, `sie add` refuses by the key; where it answers, so is it
answered here, or refused by the key for a reason of this project's own. As a program it draws fresh
seeds for so many minutes (`sie soak --layouts`).
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any, Final, Literal

from tests.support.judging import run_judge
from tests.support.layout_judge import judged
from tests.support.random_layouts import Choices, Drawn, bare_transformer

from sie_cli.models.proposal import propose
from sie_layouts.folder import FolderFiles
from sie_schemas.errors import FixRequest

__all__ = ["draw_mutated", "lawful"]

Verdict = Literal["equal", "refused by both", "refused here", "not drawn"]

_BEFORE: Final = "config.before.json"
_LEFT: Final = frozenset({"model_type", "transformers_version"})
"""Names of the model itself, by which another reader judges."""
_MORE: Final = (
    "_attn_implementation", "_experts_implementation", "architectures", "attn_implementation",
    "dtype", "experts_implementation", "head_dim", "layer_types",
    "max_position_embeddings", "pad_token_id", "rope_parameters", "rope_scaling",
    "sliding_window", "torch_dtype", "use_return_dict",
)  # fmt: skip
_BEYOND: Final = 10**9
_COUNTED: Final = frozenset({
    "inner_group_num", "n_layers", "num_decoder_layers", "num_hidden_groups", "num_hidden_layers",
    "num_layers",
})  # fmt: skip
"""Counts of parts, each of which the reference makes: of a milliard it gives no verdict."""
_VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 2, 3, 7, _BEYOND, 0.0, 0.5, 2.5, -0.5, "", "nope", "silu", "xielu",
    "prelu", "float16", "eager", [], ["nope"], ["full_attention"], ["full_attention"] * 2,
    ["chunked_attention"] * 2, {}, {"rope_type": "linear"}, {"rope_type": "nope"},
    {"rope_type": "linear", "factor": "x"}, {"rope_type": "linear", "factor": 2.0},
    {"rope_type": "default", "rope_theta": 0}, {"type": "dynamic", "factor": 2.0},
    {"rope_type": "llama3", "factor": 2.0}, {"rope_type": "yarn", "factor": 2},
    "sdpa", "Eager", {"": "eager"}, {"": "nope"},
    {"rope_type": "longrope", "short_factor": [1.0], "long_factor": [1.0]},
)  # fmt: skip
_OWN: Final = frozenset({
    "architectures", "chunk_size_feed_forward", "id2label", "is_causal", "is_decoder",
    "max_position_embeddings", "num_labels", "quantization_config", "rope_parameters",
    "rope_scaling",
})  # fmt: skip
"""Keys of which this project refuses values that the reference answers, each by a written rule.

Of rotary positions those are meant with which its vectors are no numbers."""


def draw_mutated(seed: int, folder: Path) -> Drawn | None:
    """The folder of a seed; None where it is refused as it is."""
    choices = Choices(seed)
    plain = bare_transformer(choices, folder)
    if _refusals(plain):
        return None
    file = plain / "config.json"
    (folder / _BEFORE).write_text(file.read_text())
    told = json.loads(file.read_text())
    keys = {*told, *_MORE} - _LEFT
    key = choices.one("key", sorted(keys))
    told[key] = choices.one("value", _VALUES)
    if key in _COUNTED and told[key] == _BEYOND:
        return None
    file.write_text(json.dumps(told))
    return Drawn(plain, "dense", choices.made)


def lawful(drawn: Drawn | None) -> Verdict:
    """The verdict. Raises `AssertionError` where the law is broken."""
    if drawn is None:
        return "not drawn"
    refusals = _refusals(drawn.folder)
    verdict = judged(drawn)
    key = drawn.choices["key"]
    if verdict == "equal":
        assert not refusals, f"a worker answers as the reference, and it is not added: {refusals}"
        return "equal"
    if verdict == "no reference" and not refusals and _fails_before(drawn):
        return "not drawn"
    assert refusals, f"it would be added: {verdict}"
    if verdict == "no reference":
        return "refused by both"
    # The reference makes a tensor up that is not there, and two loads of it differ.
    random = any("lacks" in each and "tensors of the model" in each for each in refusals)
    named = key in _OWN and any(key in each for each in refusals)
    assert random or named, f"{verdict}: {refusals}"
    return "refused here"


def _fails_before(drawn: Drawn) -> bool:
    """True of a folder with which the reference fails as it was: no value tells anything then."""
    file = drawn.folder / "config.json"
    file.write_text((drawn.folder.parent / _BEFORE).read_text())
    return judged(drawn) == "no reference"


def _refusals(folder: Path) -> list[str]:
    try:
        return [str(each) for each in propose(FolderFiles(folder), takes_pickles=False).refusals]
    except FixRequest as refused:
        return [str(refused)]


async def _judged_fresh(seed: int, folder: Path) -> Counter[str]:
    drawn = draw_mutated(seed, folder)
    try:
        return Counter([lawful(drawn)])
    except AssertionError as error:
        chosen = dict(drawn.choices) if drawn is not None else {}
        raise AssertionError(f"{error}\n{chosen}") from error


if __name__ == "__main__":
    run_judge(__doc__ or "", _judged_fresh)
