"""The table of mutants, as it stands in the docs.

*pure.*
"""

from collections.abc import Sequence

from tests.mutants.catalogue import MUTANTS
from tests.mutants.zoo import Outcome

__all__ = ["table"]

_HEAD = """# Mutants

Each row is a known way to break such a system, made in our own code, and the test that saw it.
`python -m tests.mutants --write` runs them all, `--jobs N` at once, and writes this page; with
`--only NAME` it runs that one and writes its row. `--list` lists them. `--keep FILE` notes each
kill, and a run that was interrupted goes on behind them. A mutant that survives is an open hole:
the run fails. One that hangs is told as hung.
The words are in the [glossary](glossary.md).

| Mutant | What it breaks | Killed by | Seconds |
|---|---|---|---|
"""


def table(outcomes: Sequence[Outcome], page: str = "") -> str:
    """The page, one row for each mutant that was run or has a row on `page`."""
    rows = {line.split("`")[1]: line + "\n" for line in page.splitlines() if line.startswith("| `")}
    why = {mutant.name: mutant.why for mutant in MUTANTS}
    for outcome in outcomes:
        name = outcome.mutant
        told = f"{_test(outcome.killer)} | {outcome.seconds:.1f}"
        rows[name] = f"| `{name}` | {why[name]} | {told} |\n"
    return _HEAD + "".join(rows[name] for name in why if name in rows)


def _test(killer: str) -> str:
    if not killer:
        return "**nothing**"
    file, _, name = killer.partition("::")
    return f"`{file.rpartition('/')[2]}`: {name.partition('[')[0].rpartition('::')[2] or name}"
