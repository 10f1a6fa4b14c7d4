"""The layout of a folder that makes vectors: everything by which it makes them.

*types.* Values only. Layouts of other kinds have modules of their own beside this one; `Reading`
holds any of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sie_layouts.facts import Fact
from sie_layouts.steps import (
    AutoEncoderStep,
    DenseStep,
    LayerNormStep,
    PoolingStep,
    StaticStep,
    Step,
    TaskLayout,
    TextLayout,
    TokenWeightsStep,
    TransformerStep,
)

__all__ = ["InputStep", "SentenceLayout", "width_of"]

InputStep = TransformerStep | StaticStep | TokenWeightsStep


@dataclass(frozen=True, slots=True)
class SentenceLayout:
    """One vector for each text, dense or sparse."""

    output: Literal["dense", "sparse"]
    document: tuple[Step, ...]
    """The steps of a text; the first takes it in."""
    query: tuple[Step, ...]
    """The steps of a query: the same, unless the folder routes queries another way."""
    prompts: Mapping[str, str] = field(default_factory=dict)
    """The text before each text, by the name that the folder gives it."""
    default_prompt: str | None = None
    """The name of the prompt of a text of which nobody said what it is."""
    kept: int | None = None
    """The numbers of a dense vector that are kept, or the entries of a sparse one; None: all."""
    similarity: str | None = None
    default_side: Literal["query", "document"] = "document"
    """The side of a text that is called neither."""
    facts: tuple[Fact, ...] = ()

    @property
    def kind(self) -> str:
        """The output's name."""
        return self.output

    @property
    def routed(self) -> bool:
        """True if queries go another way."""
        return self.query != self.document

    @property
    def text(self) -> TextLayout:
        """The way in which a text becomes token ids."""
        return input_of(self.document).text

    @property
    def tasks(self) -> TaskLayout | None:
        """The tasks that the model's weights can be changed for."""
        first = input_of(self.document)
        return first.tasks if isinstance(first, TransformerStep) else None

    @property
    def width(self) -> int | None:
        """The numbers of a vector; None where only the model's own config tells."""
        width = width_of(self.document)
        if self.output == "sparse" or width is None:
            return width
        return width if self.kept is None else min(width, self.kept)


def input_of(steps: tuple[Step, ...]) -> InputStep:
    """The step that takes the texts in."""
    first = steps[0]
    assert isinstance(first, TransformerStep | StaticStep | TokenWeightsStep)
    return first


def width_of(steps: tuple[Step, ...]) -> int | None:
    """The width of `sentence_embedding` at the end; None where no step states it."""
    width: int | None = None
    for step in steps:
        match step:
            case PoolingStep():
                width = step.width * len(step.modes) or None
            case DenseStep() if step.target == "sentence_embedding":
                width = step.out_features
            case AutoEncoderStep() | LayerNormStep():
                width = step.width
            case _:
                pass
    return width
