"""Cutting: the place where a text is cut that is longer than the model reads.

*shell* over the `tokenizers` library. A model cuts its texts on the side that its folder names. A
request's option `truncate` may want the other one, or that nothing is cut: then such an item fails
by itself. Where a model cuts in a way of its own, another one is refused by name.
"""

from collections.abc import Collection, Sequence
from typing import Final

import tokenizers

from sie_schemas.errors import FixRequest
from sie_schemas.ipc import Loaded, TokensInput
from sie_schemas.jobs import ItemFailure, Job

__all__ = ["ANY_CUT", "NOWHERE", "Cutter", "fitting", "unreadable", "wanted_cut"]

_SIDES: Final = {"end": "right", "start": "left"}
NOWHERE: Final = "none"
ANY_CUT: Final = frozenset({*_SIDES, NOWHERE})


class Cutter:
    """A tokenizer, and its copies that cut elsewhere. Each is made when it is first wanted."""

    def __init__(self, native: tokenizers.Tokenizer, tokens_max: int, truncation_side: str) -> None:
        self.tokens_max = tokens_max
        # Where nothing limits a text, every way of cutting is the same.
        usual = [how for how, side in _SIDES.items() if side == truncation_side]
        self._made = dict.fromkeys(usual if tokens_max > 0 else ANY_CUT, native)
        self._native = native

    def at(self, how: str | None) -> tokenizers.Tokenizer:
        """The tokenizer that cuts at `end`, at `start`, nowhere (`none`), or as usual (None)."""
        if how is None:
            return self._native
        found = self._made.get(how)
        if found is None:
            found = tokenizers.Tokenizer.from_str(self._native.to_str())
            found.no_truncation()
            if how in _SIDES:
                found.enable_truncation(max_length=self.tokens_max, direction=_SIDES[how])
            # Two threads may make it at once, and either will do.
            self._made[how] = found
        return found


def wanted_cut(job: Job, loaded: Loaded, ways: Collection[str] = ()) -> str | None:
    """The request's `truncate`; None where it is as usual. `ways` are those in which the model's
    texts may be cut otherwise. Raises `FixRequest`, which names the option."""
    how: str | None = job.options.get("truncate")
    if how is None or _SIDES.get(how) == loaded.truncation_side:
        return None
    if how not in ways:
        params = "$" if job.operation == "score" else "$.params"
        where = f"{params}.options.truncate"
        does = (
            f"cuts texts that are too long in its own way, and not at {how!r}"
            if loaded.truncation_side
            else "cuts no text"
        )
        raise FixRequest(f"{where}: {job.model_id} {does}; leave it out", field=where)
    return how


def fitting(
    job: Job,
    reads: Sequence[int],
    indexes: list[int],
    inputs: list[TokensInput],
    failures: list[ItemFailure],
) -> tuple[list[int], list[TokensInput]]:
    """The inputs that the model can read; the others are failures.

    `reads` are the tokens that it reads of each; 0 where nothing limits them.
    """
    kept: list[int] = []
    for place, given in enumerate(inputs):
        failure = unreadable(job, given, reads[place])
        if failure is None:
            kept.append(place)
        else:
            failures.append(ItemFailure(indexes[place], failure.code, failure.message))
    if len(kept) == len(inputs):
        return indexes, inputs
    return [indexes[place] for place in kept], [inputs[place] for place in kept]


def unreadable(job: Job, given: TokensInput, reads: int) -> FixRequest | None:
    """The refusal of a text of which nothing is left, or that may not be cut; None of others.

    The device would refuse it too, with all that share its batch.
    """
    count = len(given.ids) // 4
    if not count:
        return FixRequest("the text is empty: no token is left of it; send one with words in it")
    if reads <= 0 or count <= reads:
        return None
    # What may be cut is too long only where nothing is left of it to cut.
    may_be_cut = job.options.get("truncate") != NOWHERE
    cure = (
        "what stands around it fills that by itself: shorten the query or the instruction"
        if may_be_cut
        else "shorten it, or let it be cut (`truncate`)"
    )
    return FixRequest(
        f"the text has {count} tokens and {job.model_id} reads {reads}: {cure}",
        code="INPUT_TOO_LONG",
    )
