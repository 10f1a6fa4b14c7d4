"""The runbooks as a program reads them: sections, sentences, and what stands in code.

*pure.* The page is the only place of its commands and queries: whoever walks it takes them from
here, so that a page which rots fails.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["PAGE", "Section", "is_query", "query_of", "sections", "typed"]

PAGE: Final = Path(__file__).parents[2] / "docs/operations/runbooks.md"
_SECTION: Final = re.compile(r"^## (Sie\w+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_PART: Final = re.compile(r"\*\*(Means|Look|Do)\.\*\*(.*?)(?=\n\n\*\*|\Z)", re.DOTALL)
_SPAN: Final = re.compile(r"`([^`]+)`")
_SENTENCE: Final = re.compile(r"(?<=[.?])\s+(?=[A-Z`\[])")
_METRIC: Final = re.compile(r"\bsie_[a-z0-9_]+")
_LABELS: Final = re.compile(r"(sie_[a-z0-9_]+)\{([a-z_]+)\}")
_BARE: Final = re.compile(r"sie_[a-z0-9_]+")


@dataclass(frozen=True)
class Section:
    """One alert's part of the page; line breaks are spaces."""

    means: str
    look: str
    do: str

    @property
    def look_spans(self) -> list[str]:
        """The parts of **Look** that stand in code, in their order."""
        return _SPAN.findall(self.look)

    @property
    def spans(self) -> list[str]:
        """Those of the whole section."""
        return [*_SPAN.findall(self.means), *self.look_spans, *_SPAN.findall(self.do)]

    @property
    def sentences(self) -> list[str]:
        """The sentences of **Do**."""
        return _SENTENCE.split(self.do)


def sections(text: str) -> dict[str, Section]:
    """Each section of the page, by its alert."""
    found = {}
    for alert, body in _SECTION.findall(text):
        parts = {name: " ".join(words.split()) for name, words in _PART.findall(body)}
        found[alert] = Section(parts["Means"], parts["Look"], parts["Do"])
    return found


def is_query(span: str) -> bool:
    """True for a question to Prometheus."""
    return _METRIC.search(span) is not None


def query_of(span: str) -> str:
    """The question in full: a metric alone may be a histogram, and `{label}` asks by a label."""
    if (labelled := _LABELS.fullmatch(span)) is not None:
        return f"sum by ({labelled[2]}) ({labelled[1]})"
    if _BARE.fullmatch(span):
        return f'{{__name__=~"{span}(_bucket|_count|_sum)?"}}'
    return span


def typed(span: str, words: Mapping[str, str]) -> list[str]:
    """The words of a command as a person types them, with what its capitals stand for."""
    return [words.get(word, word) for word in span.split()]
