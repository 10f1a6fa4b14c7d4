"""The layout of any model folder, by what the folder says that it is.

*pure.* `kind_of` looks only at what a folder calls itself; the reader of that kind decides. A kind
that has no reader here is refused by name.
"""

from typing import Final, Literal, TypeAlias

from sie_layouts.facts import Files, Reading
from sie_layouts.images.image_text import ImageTextLayout, is_image_text, read_image_text
from sie_layouts.late import TokenLayout, is_stanford, read_late
from sie_layouts.layout import SentenceLayout
from sie_layouts.reader import Reader
from sie_layouts.routes import MODULES_FILE
from sie_layouts.score import ScoreLayout, read_score
from sie_layouts.sentence import SETTINGS_FILE, read_sentence

__all__ = ["Kind", "Layout", "kind_of", "read"]

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
    classes = reader.table("config.json").get("architectures") or []
    for name in classes if isinstance(classes, list) else []:
        for ending, kind in _OF_CLASSES:
            if str(name).endswith(ending):
                return kind
    return "vectors"
