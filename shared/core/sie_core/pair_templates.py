"""Templates of pairs: what decoders that judge a query and a document are asked.

*pure.* Data, as the authors publish it. A profile names one of `PAIR_TEMPLATES` with
`pair_template`, or gives a text of its own with `{query}`, `{document}` and, where it has one,
`{instruction}`. `pair_form` reads either. Raises `FixRequest`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sie_core.templates import INSTRUCTION, Template
from sie_schemas.errors import FixRequest
from sie_schemas.ipc import PairForm, PairPart

__all__ = ["DOCUMENT", "PAIR_TEMPLATES", "QUERY", "PairTemplate", "pair_template", "read_part"]

QUERY: Final = "query"
DOCUMENT: Final = "document"
_SHARE: Final = 0.75
"""The part of a pair's length that a query may take, where its authors bound it."""
_CHAT: Final = "<|im_start|>{}\n"
_USER: Final = _CHAT.format("user")
_ASSISTANT: Final = "<|im_end|>\n" + _CHAT.format("assistant")


@dataclass(frozen=True, slots=True)
class PairTemplate:
    """A template, and how the model's answer to it becomes a score."""

    form: PairForm
    yes: str
    no: str | None = None
    activation: str = "Sigmoid"
    temperature: float = 1.0


_QWEN3: Final = PairTemplate(
    PairForm(
        parts=(
            PairPart(
                _CHAT.format("system")
                + "Judge whether the Document meets the requirements based on the Query and the "
                'Instruct provided. Note that the answer can only be "yes" or "no".'
                + "<|im_end|>\n"
                + _USER
            ),
            PairPart("<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}"),
            PairPart(_ASSISTANT + "<think>\n\n</think>\n\n"),
        ),
        bounded=(1, 2),
        cut=1,
        instruction="Given a web search query, retrieve relevant passages that answer the query",
    ),
    yes="yes",
    no="no",
)
_MXBAI_HEAD: Final = PairPart(
    _CHAT.format("system")
    + "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
    + _USER
)
_MXBAI_TAIL: Final = (
    PairPart("\n"),
    PairPart("document: {document}"),
    PairPart("\n"),
    PairPart(
        "You are a search relevance expert who evaluates how well documents match search queries. "
        "For each query-document pair, carefully analyze the semantic relationship between them, "
        "then provide your binary relevance judgment (0 for not relevant, 1 for relevant).\n"
        "Relevance:"
    ),
    PairPart(_ASSISTANT),
)
_MXBAI: Final = PairTemplate(
    PairForm(
        parts=(
            _MXBAI_HEAD,
            PairPart("instruction: {instruction}\nquery: {query}", _SHARE),
            *_MXBAI_TAIL,
        ),
        bare=(_MXBAI_HEAD, PairPart("query: {query}", _SHARE), *_MXBAI_TAIL),
        bounded=(1, 4),
        cut=3,
    ),
    yes="1",
    no="0",
    activation="Identity",
)
_BGE_GEMMA: Final = PairTemplate(
    PairForm(
        parts=(
            PairPart("<bos>"),
            PairPart("A: {query}", _SHARE),
            PairPart("\n"),
            PairPart("B: {document}"),
            PairPart("\n"),
            PairPart("{instruction}"),
        ),
        bounded=(0, 4),
        cut=3,
        instruction="Given a query A and a passage B, determine whether the passage contains an "
        "answer to the query by providing a prediction of either 'Yes' or 'No'.",
    ),
    yes="Yes",
    activation="Identity",
)
_ZERANK: Final = PairTemplate(
    PairForm(
        parts=(
            PairPart(_CHAT.format("system") + "{query}<|im_end|>\n" + _USER),
            PairPart("{document}"),
            PairPart(_ASSISTANT),
        ),
        bounded=(0, 3),
        cut=1,
        trims=True,
    ),
    yes="Yes",
    temperature=5.0,
)
PAIR_TEMPLATES: Final[Mapping[str, PairTemplate]] = {
    "bge-gemma": _BGE_GEMMA,
    "mxbai-v2": _MXBAI,
    "qwen3": _QWEN3,
    "zerank": _ZERANK,
}
"""By the name that a profile's `pair_template` may give."""


def read_part(source: str) -> Template:
    """One part of a template of pairs. Raises `FixRequest`."""
    return Template.read(source, (INSTRUCTION, QUERY, DOCUMENT))


def pair_template(source: str) -> PairTemplate:
    """A named template, or one that is written out. Raises `FixRequest`."""
    known = PAIR_TEMPLATES.get(source)
    if known is not None:
        return known
    if "{" not in source:
        raise FixRequest(
            f"{source!r} is no template of pairs; known are {', '.join(sorted(PAIR_TEMPLATES))}, "
            "or write one with {query} and {document}"
        )
    template = Template.read(source, (INSTRUCTION, QUERY, DOCUMENT), required=(QUERY, DOCUMENT))
    if template.parts[-2] != DOCUMENT:
        raise FixRequest("of a template of pairs, {document} is the last place: it is cut")
    # What stands behind the document is no part of what is cut.
    head = source[: source.rindex("{" + DOCUMENT + "}")]
    tail = template.parts[-1]
    parts = (PairPart(head), PairPart("{" + DOCUMENT + "}"), *([PairPart(tail)] if tail else []))
    return PairTemplate(PairForm(parts=parts, bounded=(0, len(parts)), cut=1), yes="yes", no="no")
