"""The files that a layout needs beside those that it was read from: weights and a vocabulary.

*pure* over names and small files. A worker would find out at the load; here it is told before
anything is written.
"""

from collections.abc import Iterator
from typing import Final

from sie_layouts.facts import Files, Refusal
from sie_layouts.images.image_text import ImageTextLayout
from sie_layouts.late import TokenLayout
from sie_layouts.layout import SentenceLayout
from sie_layouts.reader import Reader, joined
from sie_layouts.reading import Layout
from sie_layouts.steps import (
    AutoEncoderStep,
    DenseStep,
    LayerNormStep,
    StaticStep,
    Step,
    TokenWeightsStep,
    TransformerStep,
)

__all__ = ["absent_files", "absent_of_transformer"]

_WEIGHTS: Final = "model.safetensors"
_INDEX: Final = "model.safetensors.index.json"
_PICKLED: Final = "pytorch_model"
_VOCABULARIES: Final = frozenset(
    {"bpe.codes", "dict.txt", "tekken.json", "tokenizer.json", "vocab.json", "vocab.txt"}
)
_VOCABULARY_ENDS: Final = (".model", ".spm", ".tiktoken")


def absent_files(files: Files, layout: Layout, *, takes_pickles: bool) -> tuple[Refusal, ...]:
    """A refusal for each file that is not there. `takes_pickles`: one in its place will do."""
    match layout:
        case SentenceLayout():
            steps: tuple[Step, ...] = (*layout.document, *layout.query)
        case TokenLayout():
            steps = (layout.encoder, *layout.steps)
        case ImageTextLayout():
            found = absent_of_transformer(files, layout.folder, takes_pickles=takes_pickles)
            return (*found, *_of_steps(files, layout.steps, takes_pickles))
        case _:
            return absent_of_transformer(files, "", takes_pickles=takes_pickles)
    return tuple(dict.fromkeys(_of_steps(files, steps, takes_pickles)))


def absent_of_transformer(files: Files, folder: str, *, takes_pickles: bool) -> tuple[Refusal, ...]:
    """The same of a model of transformers in a folder, with its tokenizer."""
    return (*_weights(files, folder, takes_pickles), *_vocabulary(files, folder))


def _of_steps(files: Files, steps: tuple[Step, ...], takes_pickles: bool) -> Iterator[Refusal]:
    for step in steps:
        match step:
            case TransformerStep():
                yield from absent_of_transformer(files, step.folder, takes_pickles=takes_pickles)
            case StaticStep() | TokenWeightsStep():
                yield from _file(files, step.file, takes_pickles)
                yield from _vocabulary(files, step.folder)
            case DenseStep() if step.beside:
                pass
            case DenseStep() | LayerNormStep() | AutoEncoderStep():
                yield from _file(files, step.file, takes_pickles)


def _weights(files: Files, folder: str, takes_pickles: bool) -> Iterator[Refusal]:
    names, reader = files.names(), Reader(files)
    named = reader.table(joined(folder, "config.json")).get("transformers_weights")
    main = joined(folder, str(named or _WEIGHTS))
    index = main if main.endswith(".index.json") else joined(folder, _INDEX)
    if main in names and main != index:
        return
    if index not in names:
        yield from _file(files, main, takes_pickles)
        return
    shards = reader.table(index).get("weight_map")
    listed = set(shards.values()) if isinstance(shards, dict) else set()
    for shard in sorted(map(str, listed)):
        if joined(folder, shard) not in names:
            yield Refusal(index, f"names {shard}, which is not there", "restore the file")


def _file(files: Files, name: str, takes_pickles: bool) -> Iterator[Refusal]:
    names = files.names()
    home = name.rpartition("/")[0]
    beside = [each for each in names if each.rpartition("/")[0] == home]
    pickled = any(each.rpartition("/")[2].startswith(_PICKLED) for each in beside)
    if name in names or (takes_pickles and pickled):
        return
    others = sorted(each for each in beside if each.endswith((".safetensors", ".bin", ".pt")))
    has = f"; there is {', '.join(others[:3])}" if others else ""
    yield Refusal(name, f"is not there{has}", "save the model again, with safetensors")


def _vocabulary(files: Files, folder: str) -> Iterator[Refusal]:
    prefix = f"{folder}/" if folder else ""
    for name in files.names():
        own = name.removeprefix(prefix)
        inside = name.startswith(prefix) and "/" not in own
        if inside and (own in _VOCABULARIES or own.endswith(_VOCABULARY_ENDS)):
            return
    yield Refusal(
        joined(folder, "tokenizer.json"),
        "is not there, nor a vocabulary that one could be made of",
        "add the tokenizer's files of the model that it was made from",
    )
