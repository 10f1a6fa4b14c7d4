"""The forms in which a loaded model takes its settings and its texts.

*types.* Parts of `Loaded`: the sidecar is told them once, with the load.
"""

from typing import Literal

from msgspec import Struct

from sie_schemas.items import Operation

__all__ = ["Option", "PairForm", "PairPart", "PictureForm", "QueryForm", "TaskForm", "TextForm"]


class Option(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A setting that a backend takes: its name, type and range, declared once.

    `in_profile` and `in_request` say where it may stand; in a request only for `operations`, or
    for all where those are empty. Numbers lie from `least` to `most`, a text is one of `choices`
    where there are any.
    """

    name: str
    kind: Literal["flag", "whole", "number", "text"]
    help: str = ""
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    in_profile: bool = False
    in_request: bool = False
    operations: tuple[Operation, ...] = ()


class PairPart(Struct, frozen=True, omit_defaults=True):
    """A piece of a pair's text, tokenized by itself and without special tokens.

    `template` has places `{instruction}`, `{query}` and `{document}`. It is cut to `share` of what
    `PairForm.bounded` leaves; 0: it is not.
    """

    template: str
    share: float = 0.0


class PairForm(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The way from a query and a document to one text, where the tokenizer's own is not wanted.

    `bare` are the parts where there is no instruction, `instruction` is the one of a request that
    has none. The parts `bounded` (from, to) have together what the other parts leave of the length,
    and part `cut` is shortened to that. It loses its end, or with `cuts_start` its beginning. With
    `restores_suffix` a text that was cut gets back the tokens that end every text. With `trims` the
    texts lose the white space around them. In the bare parts `trims_bare` says so; None, as an
    older release has it, is as `trims`.
    """

    parts: tuple[PairPart, ...]
    bare: tuple[PairPart, ...] = ()
    bounded: tuple[int, int]
    cut: int
    instruction: str = ""
    cuts_start: bool = False
    restores_suffix: bool = False
    trims: bool = False
    trims_bare: bool | None = None


class PictureForm(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The way from an image to the pixels that a model reads, in this order.

    The shorter edge becomes `shortest`, or the image the `size` (height, width), by Pillow's filter
    number `resample`. Then the middle is cut out as `crop` (height, width). Where nothing is given,
    it stays as it is. An image costs `cost`. A model that has this form takes images beside what it
    `accepts`, and with `image` nothing else.
    """

    shortest: int = 0
    size: tuple[int, int] | None = None
    resample: int = 3
    crop: tuple[int, int] | None = None
    cost: int = 1


class QueryForm(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The way in which a model takes queries in, where it is another than that of its texts.

    `by_default` says that a text goes this way which is called neither query nor document.
    """

    tokenizer_path: str
    tokenizer_sha256: str
    max_sequence_length: int = 0
    truncation_side: str = "right"
    skips_prompts: bool = False
    special_tokens: bool = True
    by_default: bool = False


class TaskForm(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The tasks for which a model's weights can be changed.

    `words` has each, with the words before a text of it. `sides` has the task of a `query` and of a
    `document`, where a request names none.
    """

    words: dict[str, str]
    sides: dict[str, str] = {}


class TextForm(Struct, frozen=True, omit_defaults=True):
    """The token ids of a query, or of a document, of a model of late interaction.

    They are cut at `tokens_max`; 0 is the model's length. They are filled up to `filled_to` with
    the token `filler`, at which the others look only where it is `attended`.
    """

    tokens_max: int = 0
    filled_to: int = 0
    filler: int = 0
    attended: bool = False
