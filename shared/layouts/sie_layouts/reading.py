"""The layout of any model folder, by what the folder says that it is.

*pure.* `kind_of` looks only at what a folder calls itself; the reader of that kind decides. A kind
that has no reader here is refused by name. `absent_files` tells what a layout needs beside the
files that it was read from: weights and a vocabulary. A worker would find out at the load.
`unlike_tensors` tells what those weights lack, by their headers; `without_length`, of which texts
nothing says how long they may be.
"""

from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

from sie_layouts.architectures.lengths import require_length, require_room_for
from sie_layouts.architectures.tensors.declared import lacking, main_file
from sie_layouts.architectures.tensors.families import Head
from sie_layouts.architectures.tensors.layers import unlike_layers
from sie_layouts.architectures.tensors.pickled import pickles_wanted
from sie_layouts.facts import Files, Reading, Refusal
from sie_layouts.images.image_text import ImageTextLayout, is_image_text, read_image_text
from sie_layouts.late import TokenLayout, is_stanford, read_late
from sie_layouts.layout import SentenceLayout
from sie_layouts.reader import Reader, class_names, joined
from sie_layouts.routes import MODULES_FILE
from sie_layouts.score import ScoreLayout, read_score
from sie_layouts.sentence import SETTINGS_FILE, read_sentence
from sie_layouts.steps import (
    AutoEncoderStep,
    DenseStep,
    LayerNormStep,
    StaticStep,
    Step,
    TokenWeightsStep,
    TransformerStep,
)

__all__ = [
    "Kind",
    "Layout",
    "absent_files",
    "absent_of_transformer",
    "kind_of",
    "read",
    "unlike_tensors",
    "without_length",
]

Kind: TypeAlias = Literal["vectors", "scores", "token_vectors", "entities", "texts_and_images"]
Layout: TypeAlias = SentenceLayout | ScoreLayout | TokenLayout | ImageTextLayout

_OF_SETTINGS: Final[dict[str, Kind]] = {
    "ColBERT": "token_vectors",
    "CrossEncoder": "scores",
    "MultiVectorEncoder": "token_vectors",
}
_OF_CLASSES: Final[tuple[tuple[str, Kind], ...]] = (
    ("ForSequenceClassification", "scores"),
    ("ForTokenClassification", "entities"),
)
_INDEX: Final = "model.safetensors.index.json"
_PICKLED: Final = "pytorch_model"
_VOCABULARIES: Final = frozenset(
    {"bpe.codes", "dict.txt", "tekken.json", "tokenizer.json", "vocab.json", "vocab.txt"}
)
_VOCABULARY_ENDS: Final = (".model", ".spm", ".tiktoken")


def read(files: Files, kind: Kind | None = None, *, sparse: bool = False) -> Reading[Layout]:
    """The layout of a folder, or all that stands in the way.

    `kind` is the one that is wanted; None: the one that the folder says. `sparse` says that sparse
    vectors are wanted, and no others.
    """
    kind = kind or kind_of(files)
    if kind == "vectors":
        return read_sentence(files, "sparse" if sparse else None)
    if kind == "scores":
        return read_score(files)
    if kind == "token_vectors":
        return read_late(files)
    if kind == "texts_and_images":
        return read_image_text(files)
    reader = Reader(files)
    reader.refuse(
        "config.json", f"is of a model of {kind.replace('_', ' ')}, which is not read yet"
    )
    return Reading(None, tuple(reader.refusals))


def kind_of(files: Files) -> Kind:
    """The name that a folder gives itself; vectors where it does not say."""
    reader = Reader(files)
    if is_image_text(reader):
        return "texts_and_images"
    if reader.has(MODULES_FILE):
        said = reader.table(SETTINGS_FILE).get("model_type")
        if said is None and is_stanford(reader.table("config.json")):
            return "token_vectors"
        return _OF_SETTINGS.get(str(said), "vectors")
    if is_stanford(reader.table("config.json")):
        return "token_vectors"
    for name in class_names(reader.table("config.json")):
        for ending, kind in _OF_CLASSES:
            if name.endswith(ending):
                return kind
    return "vectors"


def absent_files(files: Files, layout: Layout, *, takes_pickles: bool) -> tuple[Refusal, ...]:
    """A refusal for each file that is not there. `takes_pickles`: one in its place will do."""
    whole, steps = _parts(layout)
    found = absent_of_transformer(files, whole[0], takes_pickles=takes_pickles) if whole else ()
    return tuple(dict.fromkeys((*found, *_of_steps(files, steps, takes_pickles))))


def unlike_tensors(files: Files, layout: Layout) -> tuple[Refusal, ...]:
    """A refusal for what the weights lack, or hold otherwise; nothing of files not there."""
    whole, steps = _parts(layout)
    found = lacking(files, *whole) if whole else ()
    of_steps = [
        refusal
        for step in steps
        if isinstance(step, TransformerStep)
        for refusal in lacking(files, step.folder, step.head, step.config_options)
    ]
    return tuple(dict.fromkeys((*found, *of_steps, *unlike_layers(files, steps))))


def _parts(layout: Layout) -> tuple[tuple[str, Head] | None, tuple[Step, ...]]:
    """The folder and head of a model that is no step, where there is one; and the steps."""
    match layout:
        case SentenceLayout():
            return None, (*layout.document, *layout.query)
        case TokenLayout():
            return None, (layout.encoder, *layout.steps)
        case ImageTextLayout():
            return (layout.folder, "none"), layout.steps
        case ScoreLayout():
            return ("", "decoder" if layout.model == "decoder" else "classes"), ()


def without_length(files: Files, layout: Layout) -> tuple[Refusal, ...]:
    """A refusal for each transformer whose texts nothing limits, or have no room."""
    reader = Reader(files)
    match layout:
        case SentenceLayout():
            for step in (*layout.document, *layout.query):
                if isinstance(step, TransformerStep):
                    limit = step.text.tokens_max
                    require_length(reader, step.folder, limit, step.config_options)
                    require_room_for(reader, step.folder, limit, texts=1)
        case TokenLayout():
            encoder, fixed = layout.encoder, layout.expansion is not None and layout.expansion.fixed
            sides = bool((layout.query.tokens_max or fixed) and layout.document.tokens_max)
            limit = encoder.text.tokens_max or int(sides)
            require_length(reader, encoder.folder, limit, encoder.config_options)
        case ScoreLayout():
            require_length(reader, "", layout.text.tokens_max, {})
            require_room_for(reader, "", layout.text.tokens_max, texts=2)
        case ImageTextLayout():
            pass  # its text tower has positions, and the layout their number
    return tuple(reader.refusals)


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
    main = main_file(files, folder)
    index = main if main.endswith(".index.json") else joined(folder, _INDEX)
    if main in names and main != index:
        return
    if index not in names:
        yield from _file(files, main, takes_pickles)
        return
    shards = reader.table(index).get("weight_map")
    listed = set(map(str, shards.values())) if isinstance(shards, dict) else set()
    for shard in sorted(listed):
        if joined(folder, shard) not in names:
            yield Refusal(index, f"names {shard}, which is not there", "restore the file")


def _file(files: Files, name: str, takes_pickles: bool) -> Iterator[Refusal]:
    names = files.names()
    home = name.rpartition("/")[0]
    beside = [each for each in names if each.rpartition("/")[0] == home]
    read = pickles_wanted(names) if takes_pickles else ()
    model = f"{home}/{_PICKLED}" if home else _PICKLED
    if name in names or any(each.startswith(model) for each in read):
        return
    others = sorted(each for each in beside if each.endswith((".safetensors", ".bin", ".pt")))
    has = f"; there is {', '.join(others[:3])}" if others else ""
    yield Refusal(name, f"is not there{has}", "save the model again, with safetensors")


# Of forty folders as people publish them none was answered wrongly, but ten were taken and failed
# at their first use: a shard, a layer or the vocabulary was not there.
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
