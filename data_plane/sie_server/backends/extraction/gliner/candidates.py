"""Candidates: the spans that a GLiNER finds likely, and the choice among those that overlap.

*shell* over a decoder of the authors' library. The rules are the library's and so is every answer.
The cost is not. The library's grows with the square of the candidates, or of words times labels in
a model of tokens. A threshold near 0 had it work for hours. Here more candidates than a bound are
refused.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from gliner.decoding.decoder import Span as LibrarySpan
from gliner.decoding.decoder import TokenDecoder

from sie_schemas.errors import FixRequest
from sie_server.backends.extraction.spans import Span

__all__ = ["Candidates", "without_overlaps"]

_CANDIDATES_MAX: Final = 200_000
"""Those of one run, which take Python seconds. A window of 384 words that is asked for ten labels
has 46,000 where every span is likely enough."""
_NEAR: Final = 256
"""Characters of a part of a text, within which spans are compared. Most spans are shorter, and lie
in one part or two."""


class Candidates:
    """All that a decoder finds likely, up to a bound; it chooses nothing any more.

    The library chooses within what it is given at once. Names at a seam are seen by two windows,
    and the choice belongs to the whole text.
    """

    def __init__(self, decoder: Any, model_id: str) -> None:
        self._model_id = model_id
        self._decode = decoder.decode
        self._by_tokens = isinstance(decoder, TokenDecoder)
        self._left = _CANDIDATES_MAX
        decoder.greedy_search = _everything
        decoder.decode = self._counted
        decoder._calculate_span_score = self._marked

    def begin(self) -> None:
        """Another run begins."""
        self._left = _CANDIDATES_MAX

    def _counted(self, tokens: Any, classes: Any, logits: Any = None, **options: Any) -> Any:
        spans = options.get("span_logits")
        if spans is None and not self._by_tokens:
            spans = logits
        if spans is not None:
            likely = spans.sigmoid() > options["threshold"]
            self._take(int(likely.sum()), options["threshold"])
        return self._decode(tokens, classes, logits, **options)

    def _marked(
        self,
        starts: Sequence[Sequence[int]],
        ends: Sequence[Sequence[int]],
        inside: Any,
        start_scores: Any,
        end_scores: Any,
        classes: dict[int, str],
        threshold: float,
        input_spans_i: object = None,
    ) -> list[LibrarySpan]:
        """The spans from a word that begins a label to one that ends it, in the library's order.

        The library tries every beginning with every end of every label. Here each beginning looks
        at the ends of its own label, up to the first word that is not inside.
        """
        # In float64, as Python's numbers are: a threshold is not one of float32.
        within, begins, closes = (
            each.double().cpu().numpy() for each in (inside, start_scores, end_scores)
        )
        lasts_of: defaultdict[int, list[int]] = defaultdict(list)
        for last, label in sorted(zip(*ends, strict=True)):
            lasts_of[label].append(last)
        outside_of = {label: np.flatnonzero(within[:, label] < threshold) for label in lasts_of}
        found: list[LibrarySpan] = []
        for first, label in zip(*starts, strict=True):
            if label not in lasts_of:
                continue
            outside = outside_of[label]
            place = np.searchsorted(outside, first)
            stop = outside[place] if place < len(outside) else len(within)
            lasts = lasts_of[label]
            lasts = lasts[bisect_left(lasts, first) : bisect_left(lasts, stop)]
            if not lasts:
                continue
            self._take(len(lasts), threshold)
            least = np.minimum.accumulate(within[first : lasts[-1] + 1, label])
            scores = np.minimum(least[np.array(lasts) - first], closes[lasts, label])
            found += (
                LibrarySpan(first, last, classes[label + 1], score, class_index=label)
                for last, score in zip(
                    lasts, np.minimum(scores, begins[first, label]).tolist(), strict=True
                )
            )
        return found

    def _take(self, count: int, threshold: float) -> None:
        self._left -= count
        if self._left < 0:
            raise FixRequest(
                f"more than {_CANDIDATES_MAX} spans are likelier to {self._model_id} than the "
                f"threshold {threshold:g}: raise it, name fewer labels, or send less text",
                field="options.threshold",
            )


def without_overlaps(spans: Iterable[Span], *, flat: bool, multi_label: bool) -> list[Span]:
    """The likeliest of spans that overlap, in the order of the text.

    With `flat` no two overlap; else one may lie in another. With `multi_label` a place may have
    several labels. Each place is judged once, against those near it: what is told does not change
    any more, so neither does a judgement.
    """
    near: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    judged: dict[tuple[int, int], bool] = {}
    told: dict[tuple[int, int, str], Span] = {}
    for span in sorted(spans, key=lambda span: -span[3]):
        start, stop, label, _ = span
        fits = judged.get((start, stop))
        if fits is None:
            parts = range(start // _NEAR, (stop - 1) // _NEAR + 1)
            others = (other for part in parts for other in near[part])
            fits = not _is_overlapped(start, stop, others, flat=flat)
            judged[start, stop] = fits
            if fits:
                for part in parts:
                    near[part].append((start, stop))
        elif not multi_label:
            continue
        # Two may have become one when they were made whole.
        if fits and (start, stop, label) not in told:
            told[start, stop, label] = span
    return sorted(told.values(), key=lambda span: (span[0], -span[1], -span[3]))


def _is_overlapped(start: int, stop: int, others: Iterator[tuple[int, int]], *, flat: bool) -> bool:
    if flat:
        return any(first < stop and start < last for first, last in others)
    return any(first < start < last < stop or start < first < stop < last for first, last in others)


def _everything(spans: Sequence[Any], *_: Any, **__: Any) -> Sequence[Any]:
    """In place of the library's choice within a window."""
    return spans
