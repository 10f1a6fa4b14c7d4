"""Spans: from what a classifier says of each token to entities, with their places in the text.

*pure.* Tokens are read as transformers' token-classification pipeline reads them under one of its
aggregation strategies. Where that pipeline tells what no reader of the text would mark, this one
does not. A span has no blanks at its ends and is never blank. Spans do not overlap, for tokens that
share a character are one piece. Characters are not cut. Spans come in the order of the text.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sie_server.backends.extraction.characters import continues_word, trimmed, whole
from sie_server.backends.extraction.tags import Tag

__all__ = ["Aggregation", "Span", "Token", "spans"]

Aggregation: TypeAlias = Literal["simple", "first", "max", "average"]

Span: TypeAlias = tuple[int, int, str, float]
"""Start, stop, kind and score. The score is the mean over the span's tokens, or over its words
where the strategy aggregates these."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token's place in the text, empty where it has none, and the probability of each label."""

    start: int
    stop: int
    chances: NDArray[Any]


@dataclass(slots=True)
class _Piece:
    """Tokens that have one label."""

    start: int
    stop: int
    tokens: list[Token] = field(default_factory=list)

    @property
    def is_blank(self) -> bool:
        return self.start == self.stop


@dataclass(slots=True)
class _Run:
    """Pieces of one entity."""

    kind: str
    start: int
    stop: int
    scores: list[float]
    ended: bool


def spans(
    text: str, tokens: Sequence[Token], tags: Sequence[Tag], aggregation: str = "simple"
) -> list[Span]:
    """The entities of a text. `tags` say what each label means, in the order of the chances."""
    runs: list[_Run] = []
    open_run: _Run | None = None
    for piece in _pieces(text, tokens, by_word=aggregation != "simple"):
        tag, scores, ended = _told(piece, tags, aggregation)
        if tag.kind is None:
            open_run = None
            continue
        # A tag inside of what nobody began begins it: classifiers leave a `B-` out, and
        # transformers reads them so.
        if open_run is None or open_run.kind != tag.kind or open_run.ended or tag.begins:
            open_run = _Run(tag.kind, piece.start, piece.start, [], ended=False)
            runs.append(open_run)
        _join(open_run, piece, scores, ended=ended)
    return [
        (run.start, run.stop, run.kind, float(np.mean(run.scores)))
        for run in runs
        # A run of blanks alone.
        if run.start < run.stop
    ]


def _join(run: _Run, piece: _Piece, scores: list[float], *, ended: bool) -> None:
    if not piece.is_blank:
        if run.start == run.stop:
            run.start = piece.start
        run.stop = piece.stop
    run.scores += scores
    run.ended = ended


def _pieces(text: str, tokens: Sequence[Token], *, by_word: bool) -> Iterator[_Piece]:
    """The tokens in pieces: those that share a character, or a word, are in one."""
    last: _Piece | None = None
    stopped = 0
    for token in tokens:
        start, stop = whole(text, *trimmed(text, token.start, token.stop))
        if start == stop:
            if last is not None:
                yield last
                last = None
            yield _Piece(start, start, [token])
            continue
        shares = start < stopped
        goes_on = by_word and start == stopped and continues_word(text, start)
        if last is not None and (shares or goes_on):
            last.stop = stopped = max(stop, stopped)
            last.tokens.append(token)
            continue
        if last is not None:
            yield last
        # Nothing is told twice, also where a blank token stood between what shares a character.
        start = max(start, stopped)
        last = _Piece(start, max(start, stop), [token])
        stopped = last.stop
    if last is not None:
        yield last


def _told(piece: _Piece, tags: Sequence[Tag], aggregation: str) -> tuple[Tag, list[float], bool]:
    """A piece's tag, the scores that it brings, and whether an entity ends with it."""
    chances = [token.chances for token in piece.tokens]
    if aggregation == "simple":
        return _first_told(chances, tags)
    if aggregation == "first":
        chosen = chances[0]
    elif aggregation == "max":
        chosen = max(chances, key=lambda own: float(own.max()))
    else:
        chosen = np.mean(np.stack(chances), axis=0)
    best = int(chosen.argmax())
    return tags[best], [float(chosen[best])], tags[best].ends


def _first_told(chances: list[NDArray[Any]], tags: Sequence[Tag]) -> tuple[Tag, list[float], bool]:
    """Tokens that share a character: the first that names an entity says of which kind it is."""
    best = [int(own.argmax()) for own in chances]
    tag = next((tags[place] for place in best if tags[place].kind is not None), tags[best[0]])
    same = [
        (tags[place], float(own[place]))
        for place, own in zip(best, chances, strict=True)
        if tags[place].kind == tag.kind
    ]
    return tag, [score for _, score in same], same[-1][0].ends
