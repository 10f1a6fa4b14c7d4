"""Runs the mutants: `python -m tests.mutants [--only NAME] [--jobs N] [--keep FILE] [--write]`.

*main.* Exit status 0 if every mutant was killed, 1 if one survived, 2 if a test that killed one
fails without any. `--write` puts what was run into the table of docs/mutants.md.
"""

import argparse
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import Mutant
from tests.mutants.table import table
from tests.mutants.zoo import Outcome, Zoo, digest_of
from tests.mutants.zoos import zoos

CHECKOUT = Path(__file__).parents[2]


def main() -> int:
    """Run what the command line names."""
    options = _options()
    chosen = [m for m in MUTANTS if not options.only or m.name in options.only]
    unknown = set(options.only) - {mutant.name for mutant in chosen}
    if unknown:
        sys.stderr.write(f"no such mutant: {', '.join(sorted(unknown))}\n")
        return 2
    if options.list:
        sys.stdout.writelines(f"{mutant.name}: {mutant.why}\n" for mutant in chosen)
        return 0
    outcomes = kept(options.keep, chosen)
    done = {outcome.mutant for outcome in outcomes}
    left = [mutant for mutant in chosen if mutant.name not in done]
    with zoos(options.jobs, CHECKOUT, timeout_s=options.timeout_s) as each_in_a_zoo:
        for outcome in each_in_a_zoo(Zoo.run, left):
            outcomes.append(outcome)
            _tell(outcome, as_json=options.json)
            keep(options.keep, outcome)
        if options.write:
            page = CHECKOUT / "docs" / "mutants.md"
            page.write_text(table(outcomes, page.read_text()))
        killers = by_file(outcome.killer for outcome in outcomes if outcome.killer)
        failing = [told for told in each_in_a_zoo(Zoo.failing_unmutated, killers) if told]
    survivors = [outcome.mutant for outcome in outcomes if not outcome.killer]
    if survivors:
        sys.stderr.write(f"survived: {', '.join(sorted(survivors))}\n")
    if failing:
        sys.stderr.write("killers that fail without any mutant:\n" + "".join(failing))
        return 2
    return 1 if survivors else 0


def kept(file: Path | None, mutants: Iterable[Mutant]) -> list[Outcome]:
    """The kills in a file, of those mutants that are still the same."""
    if file is None or not file.is_file():
        return []
    now = {mutant.name: digest_of(mutant) for mutant in mutants}
    found = (Outcome(**json.loads(line)) for line in file.read_text().splitlines())
    last = {each.mutant: each for each in found if now.get(each.mutant) == each.digest}
    return [each for each in last.values() if each.killer]


def keep(file: Path | None, outcome: Outcome) -> None:
    """Add an outcome to a file at once, so that an interruption loses nothing."""
    if file is not None:
        with file.open("a") as kept_so_far:
            kept_so_far.write(json.dumps(_told(outcome)) + "\n")


def by_file(tests: Iterable[str]) -> list[list[str]]:
    """Tests as pytest names them, each once, those of a file together."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for test in tests:
        found[test.partition("::")[0]].add(test)
    return [sorted(found[file]) for file in sorted(found)]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--list", action="store_true", help="only list them")
    parser.add_argument("--write", action="store_true", help="write docs/mutants.md")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="side by side")
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="FILE",
        help="outcomes are added to it; a mutant that it has as killed is not run again",
    )
    parser.add_argument("--timeout-s", type=float, default=300.0, help="for one mutant's tests")
    return parser.parse_args()


def _told(outcome: Outcome) -> dict[str, object]:
    return {name: value for name, value in asdict(outcome).items() if name != "output"}


def _tell(outcome: Outcome, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(_told(outcome)) + "\n")
    else:
        verdict = f"killed by {outcome.killer}" if outcome.killer else "SURVIVED"
        hung = " (hung)" if outcome.hung else ""
        sys.stdout.write(f"{outcome.seconds:6.1f} s  {outcome.mutant}: {verdict}{hung}\n")
        if not outcome.killer:
            sys.stdout.write(outcome.output)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
