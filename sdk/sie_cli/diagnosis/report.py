"""The verdict for a person: each thing that was looked at, then each trouble with its next step.

*shell.* Prints, and gives the exit status: 0 sound, 1 where something is bad.
"""

from collections.abc import Iterator
from typing import Final

from sie_cli.diagnosis.verdict import Verdict
from sie_cli.show.exit_statuses import DIFFERS
from sie_cli.show.printing import Form, print_lines, print_value
from sie_core.troubles import Trouble

__all__ = ["show_verdict", "verdict_lines"]

_INDENT: Final = " " * 7


def show_verdict(verdict: Verdict, form: Form) -> int:
    """Print it; the exit status."""
    if form.is_whole:
        print_value(verdict.to_builtins(), form)
    elif form == Form.NAME:
        print_lines([each.id for each in verdict.troubles])
    else:
        print_lines(list(verdict_lines(verdict)))
    return 0 if verdict.sound else DIFFERS


def verdict_lines(verdict: Verdict) -> Iterator[str]:
    """The lines of a verdict."""
    for look in verdict.looks:
        yield f"{'ok' if look.seen else '--':<7}{look.what:<12}{look.told}"
    for trouble in verdict.troubles:
        yield from _of(trouble)
    if not verdict.troubles:
        yield "nothing is wrong"


def _of(trouble: Trouble) -> Iterator[str]:
    yield f"{trouble.tone:<7}{trouble.what}"
    if trouble.evidence:
        yield f"{_INDENT}seen: {trouble.evidence}"
    if trouble.cure:
        yield f"{_INDENT}{trouble.cure}"
    if trouble.command:
        yield f"{_INDENT}→ {trouble.command}"
