"""Runs the mutants: `python -m tests.mutants [--only NAME] [--json] [--write] [--list]`.

*main.* Exit status 0 if every mutant was killed, 1 if one survived, 2 if the tests fail without
any. `--write` puts what was run into the table of docs/mutants.md.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from tests.mutants.catalogue import MUTANTS
from tests.mutants.table import table
from tests.mutants.zoo import Outcome, Zoo

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
    outcomes: list[Outcome] = []
    with Zoo(CHECKOUT, timeout_s=options.timeout_s) as zoo:
        failing = zoo.failing_unmutated(chosen)
        if failing:
            sys.stderr.write(f"the tests fail without any mutant:\n{failing}\n")
            return 2
        for mutant in chosen:
            outcomes.append(zoo.run(mutant))
            _tell(outcomes[-1], as_json=options.json)
    if options.write:
        page = CHECKOUT / "docs" / "mutants.md"
        page.write_text(table(outcomes, page.read_text()))
    survivors = [outcome.mutant for outcome in outcomes if not outcome.killer]
    if survivors:
        sys.stderr.write(f"survived: {', '.join(survivors)}\n")
    return 1 if survivors else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--list", action="store_true", help="only list them")
    parser.add_argument("--write", action="store_true", help="write docs/mutants.md")
    parser.add_argument("--timeout-s", type=float, default=300.0, help="for one mutant's tests")
    return parser.parse_args()


def _tell(outcome: Outcome, *, as_json: bool) -> None:
    if as_json:
        told = {k: v for k, v in asdict(outcome).items() if k != "output"}
        sys.stdout.write(json.dumps(told) + "\n")
    else:
        verdict = f"killed by {outcome.killer}" if outcome.killer else "SURVIVED"
        sys.stdout.write(f"{outcome.seconds:6.1f} s  {outcome.mutant}: {verdict}\n")
        if not outcome.killer:
            sys.stdout.write(outcome.output)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
