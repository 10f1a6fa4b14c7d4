"""Pairing: the token ids of a query and a document in a template.

*pure* over a function that tokenizes. The parts are tokenized each by itself, as authors of
rerankers do. What has to be cut is cut inside, so that the question behind the document is never
lost. Promises that an instruction is never dropped.
"""

from collections.abc import Callable, Mapping, Sequence

from sie_core.pair_templates import DOCUMENT, QUERY, read_part
from sie_core.templates import INSTRUCTION, Template
from sie_schemas.errors import FixRequest
from sie_schemas.ipc import PairForm, PairPart

__all__ = ["Pairing"]

_FILLERS = ("0", "1 2 3 4")
"""Two texts that share no token: what two such pairs end in alike is the template's end."""


class Pairing:
    """A template for one request: its instruction is filled in. Raises `FixRequest`."""

    def __init__(
        self,
        tokenize: Callable[[str], list[int]],
        form: PairForm,
        instruction: str | None,
        tokens_max: int,
    ) -> None:
        told = form.instruction if instruction is None else instruction
        self._tokenize = tokenize
        self._form = form
        self._instruction = told
        self._tokens_max = tokens_max
        is_bare = bool(form.bare) and not told
        self._parts: Sequence[PairPart] = form.bare if is_bare else form.parts
        self._trims = form.trims if not is_bare or form.trims_bare is None else form.trims_bare
        self._templates = [read_part(part.template) for part in self._parts]
        if told and not any(INSTRUCTION in each.names for each in self._templates):
            raise FixRequest(
                "$.instruction: the model's template of pairs has no place for an instruction; "
                "leave it out",
                field="$.instruction",
            )
        self._fixed: dict[int, list[int]] = {}
        """The ids of the parts that are the same in every pair, by their place."""
        self._suffix = self._ending() if form.restores_suffix else []

    def whole(self, query: str, document: str) -> list[int]:
        """The pair's ids, however many."""
        return [number for piece in self._pieces(query, document) for number in piece]

    def ids(self, query: str, document: str) -> list[int]:
        """The pair's ids, at most as many as the model reads."""
        pieces = self._pieces(query, document)
        first, last = self._form.bounded
        frame = sum(len(piece) for place, piece in enumerate(pieces) if not first <= place < last)
        room = max(0, self._tokens_max - frame)
        for place, part in enumerate(self._parts):
            if part.share:
                pieces[place] = pieces[place][: int(room * part.share)]
        inside = sum(len(piece) for piece in pieces[first:last])
        cut = pieces[self._form.cut]
        kept = max(0, len(cut) - max(0, inside - room))
        pieces[self._form.cut] = cut[len(cut) - kept :] if self._form.cuts_start else cut[:kept]
        found = [number for piece in pieces for number in piece]
        if self._suffix and len(found) >= self._tokens_max:
            kept = min(len(self._suffix), len(found))
            found[len(found) - kept :] = self._suffix[-kept:]
        return found

    def _pieces(self, query: str, document: str) -> list[list[int]]:
        if self._trims:
            query, document = query.strip(), document.strip()
        values = {QUERY: query, DOCUMENT: document, INSTRUCTION: self._instruction}
        return [self._piece(place, part, values) for place, part in enumerate(self._templates)]

    def _piece(self, place: int, template: Template, values: Mapping[str, str]) -> list[int]:
        if template.names - {INSTRUCTION}:
            return self._tokenize(template.filled(values))
        if place not in self._fixed:
            self._fixed[place] = self._tokenize(template.filled(values))
        return self._fixed[place]

    def _ending(self) -> list[int]:
        """The tokens that end every pair."""
        short, long = (
            [number for piece in self._pieces(filler, filler) for number in piece]
            for filler in _FILLERS
        )
        count = 0
        for left, right in zip(reversed(short), reversed(long), strict=False):
            if left != right:
                break
            count += 1
        # Two texts alike to the end have no place for what is filled in.
        return short[len(short) - count :] if 0 < count < min(len(short), len(long)) else []
