"""The table of mutants, as it stands in the docs.

*pure.*
"""

from collections.abc import Sequence

from tests.mutants.catalogue import MUTANTS
from tests.mutants.zoo import Outcome

__all__ = ["table"]

_HEAD = """# Mutants

Each row is a known way to break such a system, made in our own code, and the test that saw it.
`python -m tests.mutants --write` runs them all and writes this page; `--only NAME` runs one,
`--list` lists them. A mutant that survives is an open hole: the run fails.
The words are in the [glossary](glossary.md).

| Mutant | What it breaks | Killed by | Seconds |
|---|---|---|---|
"""


def table(outcomes: Sequence[Outcome]) -> str:
    """The page, one row for each outcome."""
    why = {mutant.name: mutant.why for mutant in MUTANTS}
    rows = [
        f"| `{outcome.mutant}` | {why[outcome.mutant]} | {_test(outcome.killer)} | "
        f"{outcome.seconds:.1f} |\n"
        for outcome in outcomes
    ]
    return _HEAD + "".join(rows)


def _test(killer: str) -> str:
    if not killer:
        return "**nothing**"
    file, _, name = killer.partition("::")
    return f"`{file.rpartition('/')[2]}`: {name.partition('[')[0].rpartition('::')[2] or name}"
