"""The values that transformers takes in a config.json, by a table that the library was asked for.

*pure* over a file of the wheel. Each family's class checks the types of its fields, and some values
fail where a model is made or reads its first text. A field that the table does not have is left
alone: transformers takes any value there.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from sie_layouts.facts import Refusal

__all__ = ["TABLE", "Entry", "fits", "numbers_lacking", "read_of", "untaken"]

TABLE: Final = Path(__file__).with_name("configs.json")
"""One line for each family, and one without a name for what is of every family."""
_RESTORE: Final = "restore the file"
_REMOVE: Final = "remove the key"
_SHOWN: Final = 60
"""Letters of a value in a sentence: one line of a terminal."""
_NEAR: Final = 3
"""Names that a sentence lists where none is near."""
_NUMBERS: Final = {"prelu": r"act[^.]*\.weight$", "xielu": r"\.alpha_p$"}
"""The names of an activation's own numbers."""
_FACTORS: Final = ("long_factor", "short_factor")
_HEADS: Final = "num_attention_heads"
_KERNEL: Final = "_implementation"
_ROPES: Final = ("rope_parameters", "rope_scaling")


class Entry(NamedTuple):
    """One family as the file has it."""

    forms: Mapping[str, list[str]]
    """Fields by the types that each takes: `int|null`, `list:int/str`, `=a|=b` for words alone."""
    bounds: Mapping[str, str]
    words: Mapping[str, list[str]]
    """Names that a field takes; `*` stands for every activation of the library."""
    divided: str
    """The field of the heads, of which the width is a multiple; "" where it need not be."""
    ropes: Mapping[str, list[str]]
    """The keys that each type of rotary positions asks for."""
    names: Mapping[str, str]
    """The library's names of a class's own fields."""
    usual: Mapping[str, int]
    """Values of a config that says none."""
    strays: list[str]
    """Sizes of other families, which this one passes over."""
    slides: Mapping[str, Any]
    """The keys that layers of sliding attention ask for, with the class's own values."""
    worked_out: list[str]
    """Sizes that a family works out by itself, and fails with where a config says another."""


_TYPES: Final[Mapping[str, type]] = {
    "bool": bool, "dict": dict, "float": float, "int": int, "list": list, "null": type(None),
    "str": str,
}  # fmt: skip
_SAID: Final = {
    "any": "anything", "bool": "true or false", "dict": "an object",
    "float": "a number with a point", "int": "a whole number", "list": "a list", "null": "null",
    "str": "a text",
}  # fmt: skip
_BOUNDS: Final = {
    "above": "a number above 0", "none below": "a number that is not below 0",
    "not": "a number other than 0", "share": "a number from 0 to 1",
    "words": "the number of a token of its vocabulary",
}  # fmt: skip


def fits(value: object, form: str) -> bool:
    """True of a value of one of a form's types, as transformers judges: 1 is no 1.0."""
    return any(_fits(value, one) for one in form.split("|"))


def _fits(value: object, one: str) -> bool:
    kind, _, inner = one.partition(":")
    if kind == "any" or kind == f"={value}":
        return True
    # JSON has no infinity: transformers writes one as an object.
    read = math.inf if isinstance(value, dict) and "__float__" in value else value
    if type(read) is not _TYPES.get(kind):
        return False
    parts = read.values() if isinstance(read, dict) else read if isinstance(read, list) else ()
    return not inner or all(fits(part, inner.replace("/", "|")) for part in parts)


def untaken(name: str, kind: str, config: Mapping[str, Any]) -> Iterator[Refusal]:
    """A refusal for each value of the config `name` with which transformers' own `kind` fails."""
    # The library reads a Mistral with types of layers as one of another family.
    alternates = kind == "mistral" and "layer_types" in config
    entry = _table().get("ministral" if alternates else kind)
    if entry is None:
        return
    read = {
        key: _of_the_whole(key, value)
        for key, value in config.items()
        if not _passed_over(key, config)
    }
    for key, said, cure in _told(entry, read):
        shown = json.dumps(config[key], default=repr)
        shown = shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 1]}…"
        yield Refusal(f"{name}: {key}", f"is {shown}, and {said}", cure)


def _passed_over(key: str, config: Mapping[str, Any]) -> bool:
    return key == "torch_dtype" and config.get("dtype") is not None


def _of_the_whole(key: str, value: object) -> object:
    """A value without those of parts: an object names a kernel for each, and "" is the whole."""
    return value.get("") if key.endswith(_KERNEL) and isinstance(value, dict) else value


def _told(entry: Entry, config: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Each field that fails, the thing that is wanted there, and the cure."""
    forms = {
        key: form
        for each in (_table()[""], entry)
        for form, keys in each.forms.items()
        for key in keys
    }
    unfit = {key for key, value in config.items() if not fits(value, forms.get(key, "any"))}
    for key in sorted(unfit):
        if forms[key]:
            yield key, f"{_form(forms[key])} is wanted", _RESTORE
        else:
            yield key, "transformers takes no value for it", _REMOVE
    rest = {key: value for key, value in config.items() if key not in unfit}
    for key in sorted(entry.bounds.keys() & rest.keys()):
        if not _within(rest[key], entry.bounds[key], rest):
            yield key, f"{_BOUNDS[entry.bounds[key]]} is wanted", _RESTORE
    yield from _unknown_words(entry, rest)
    yield from _unlike_counts(entry, rest)
    yield from _unsaid_windows(entry, rest)
    for key in _ROPES:
        # The older name counts, where it says something.
        if rest.get(key) and (key == _ROPES[1] or not rest.get(_ROPES[1])):
            yield from ((key, *each) for each in _rope(entry, rest, rest[key]))


def _form(form: str) -> str:
    parts = [_SAID.get(one.partition(":")[0], one[1:]) for one in form.split("|")]
    inner = form.partition("list:")[2].partition("|")[0]
    of = " of " + " or ".join(_SAID[each] for each in inner.split("/")) if inner else ""
    return " or ".join(parts).replace("a list", f"a list{of}")


def _within(value: object, bound: str, config: Mapping[str, Any]) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    words = config.get("vocab_size")
    match bound:
        case "above":
            return value > 0
        case "none below":
            return value >= 0
        case "not":
            return value != 0
        case "share":
            return 0 <= value <= 1
        case _:
            return not isinstance(words, int) or -words <= value < words


def _unknown_words(entry: Entry, config: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    every = _table()[""].words
    for key in sorted((every.keys() | entry.words.keys()) & config.keys()):
        known = [
            each.replace("*", name)
            for each in entry.words.get(key, every.get(key, []))
            for name in (every["*"] if "*" in each else [each])
        ]
        given = config[key] if isinstance(config[key], list) else [config[key]]
        # A kernel of a hub is named by its repository.
        odd = [each for each in given if isinstance(each, str) and not {*"/|"} & {*each}]
        for each in [each for each in odd if each not in known][:1]:
            yield key, f"{each!r} is no name that transformers knows there", _near(each, known)


def _near(word: str, known: list[str]) -> str:
    near = get_close_matches(word.lower(), known, 1, 0.0)
    return f"the nearest is {near[0]}" if near else f"it knows {', '.join(known[:_NEAR])}"


def _unlike_counts(entry: Entry, config: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Counts that do not go together: a type for each layer, and heads that share a width."""
    types, layers = config.get("layer_types"), _count(entry, config, "num_hidden_layers")
    if types is not None and not isinstance(types, list):
        yield "layer_types", "a list with a type for each layer is wanted", _RESTORE
    elif isinstance(types, list) and "num_hidden_layers" in entry.usual and len(types) != layers:
        yield "layer_types", f"a type for each of {layers} layers is wanted", _RESTORE
    heads = _count(entry, config, "num_attention_heads")
    width = _count(entry, config, "hidden_size")
    if entry.divided and heads > 0 and width % heads and config.get("head_dim") is None:
        key = next((key for key in config if entry.names.get(key, key) == _HEADS), entry.divided)
        if key in config:
            yield key, f"the width of {width} is no multiple of it", _RESTORE
    for key in sorted({*entry.worked_out} & config.keys()):
        if heads > 0 and config[key] not in (None, width // heads):
            yield key, f"{heads} heads of a width of {width} have {width // heads}", _REMOVE


def _count(entry: Entry, config: Mapping[str, Any], key: str) -> int:
    """A count by either of its names; the class's own where a config says none."""
    named = {entry.names.get(key, key): value for key, value in config.items()}
    value = named.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return entry.usual.get(key, 0)


def _unsaid_windows(entry: Entry, config: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Layers of sliding attention whose window nothing says."""
    types = config.get("layer_types")
    slid = entry.slides.get("layer_types", []) if types is None else types
    if not isinstance(slid, list) or "sliding_attention" not in slid:
        return
    in_effect = {**entry.slides, **config}
    for key in sorted(entry.slides.keys() - {"layer_types"}):
        if in_effect[key] is None or in_effect[key] is False:
            said = f"layers of sliding_attention ask for {key}"
            yield (key if key in config else "layer_types"), said, _RESTORE


def _rope(entry: Entry, config: Mapping[str, Any], value: object) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        yield "an object is wanted", _RESTORE
        return
    is_read = any(_ROPES[0] in keys for keys in entry.forms.values())
    inside = [each for each in value.values() if isinstance(each, dict)]
    for one in inside or [value]:
        kind = one.get("rope_type", one.get("type", "default"))
        wanted = entry.ropes.get(kind) if isinstance(kind, str) else None
        if wanted is None:
            if is_read and entry.ropes:
                yield (
                    f"{kind!r} is no type that transformers knows",
                    _near(str(kind), [*entry.ropes]),
                )
            continue
        there = {*one, *(config.keys() & {"rope_theta"} if config.get("rope_theta") else ())}
        missing = [each for each in wanted if each not in there]
        if missing:
            yield f"{kind} asks for {', '.join(missing)}", _RESTORE
        elif is_read:
            yield from _odd_numbers(one, wanted, _rotated(entry, config, one))


def _odd_numbers(
    rope: Mapping[str, Any], wanted: list[str], size: int
) -> Iterator[tuple[str, str]]:
    lists = {*_FACTORS} & {*wanted}
    numbers = {*wanted, "rope_theta"} - lists
    odd = [each for each in sorted(numbers) if not _is_number(rope.get(each))]
    if odd:
        yield f"a number is wanted for {', '.join(odd)}", _RESTORE
    odd = [each for each in sorted(lists) if not _are_factors(rope[each], size)]
    if odd:
        yield f"a list of {size} numbers is wanted for {', '.join(odd)}", _RESTORE


def _rotated(entry: Entry, config: Mapping[str, Any], rope: Mapping[str, Any]) -> int:
    """The pairs of a head's numbers that are turned."""
    heads = _count(entry, config, _HEADS)
    width = _count(entry, config, "head_dim")
    if not width and heads > 0:
        width = _count(entry, config, "hidden_size") // heads
    share = rope.get("partial_rotary_factor", config.get("partial_rotary_factor"))
    turned = width * share if isinstance(share, int | float) else width
    return -(-int(turned) // 2)


def _are_factors(value: object, size: int) -> bool:
    """True of a factor for each pair, or of one for all."""
    if not isinstance(value, list) or (size and len(value) not in {1, size}):
        return False
    return all(each is not None and _is_number(each) for each in value)


def _is_number(value: object) -> bool:
    return value is None or (
        isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    )


def read_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a config that its class reads, each by the class's own name too."""
    given = {key: value for key, value in config.items() if value is not None}
    entry = _table().get(str(config.get("model_type")))
    if entry is None:
        return given
    named = {own: given[other] for own, other in entry.names.items() if other in given}
    return {key: value for key, value in (given | named).items() if key not in entry.strays}


def numbers_lacking(kind: str, config: Mapping[str, Any], names: Iterable[str]) -> Iterator[str]:
    """The numbers of an activation that has some, where a file of tensors `names` has none."""
    entry, every = _table().get(kind), tuple(names)
    for key in entry.words if entry is not None and every else ():
        found = _NUMBERS.get(str(config.get(key)).removeprefix("gated-"))
        if found is not None and not any(re.search(found, each) for each in every):
            yield f"the numbers of {config[key]}, which {key} names"


@cache
def _table() -> Mapping[str, Entry]:
    return {kind: Entry(*entry) for kind, entry in json.loads(TABLE.read_text()).items()}
