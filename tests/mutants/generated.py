"""Generated mutants: `python -m tests.mutants.generated [--only MODULE] [--jobs N] [--list]`.

*main.* cosmic-ray, in a folder of its own, makes every small change of a module. Each lives in a
zoo, with the tests of that module and few examples. A survivor is judged in `judged`, or a test is
missing. Exit status 0 if every mutant was killed or is judged, 1 if one is not, 2 if the tests fail
without any.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.mutants.judged import JUDGED, key_of
from tests.mutants.mutant import edit
from tests.mutants.zoo import Zoo
from tests.mutants.zoos import EachInAZoo, zoos

CHECKOUT: Final = Path(__file__).parents[2]

_REQUIREMENT: Final = "cosmic-ray==8.7.0"
_FOLDER: Final = Path(sys.prefix) / "apart" / "cosmic-ray"
_PROGRAM: Final = """
import json, sys
import cosmic_ray.plugins as plugins
from cosmic_ray.mutating import mutate_code
source = open(sys.argv[1]).read()
found = []
for name in sorted(set(sys.argv[2:]) & set(plugins.operator_names())):
    operator = plugins.get_operator(name)()
    occurrence = 0
    while (code := mutate_code(source, operator, occurrence)) is not None:
        found.append([name, code])
        occurrence += 1
json.dump(found, sys.stdout)
"""
_PAIRS: Final = {
    "ReplaceComparisonOperator": (
        "Eq_NotEq NotEq_Eq Lt_LtE Lt_Gt LtE_Lt Gt_GtE Gt_Lt GtE_Gt In_NotIn NotIn_In "
        "Is_IsNot IsNot_Is"
    ),
    "ReplaceBinaryOperator": "Add_Sub Sub_Add Mul_Add FloorDiv_Mul Div_Mul Mod_Add Pow_Mul",
}
_TIMEOUT_S: Final = 300.0
"""For the tests of one module with one change; one that makes them endless is seen, too."""
OPERATORS: Final = (
    *[f"core/{kind}_{pair}" for kind, pairs in _PAIRS.items() for pair in pairs.split()],
    "core/AddNot",
    "core/NumberReplacer",
    "core/ReplaceAndWithOr",
    "core/ReplaceBreakWithContinue",
    "core/ReplaceContinueWithBreak",
    "core/ReplaceFalseWithTrue",
    "core/ReplaceOrWithAnd",
    "core/ReplaceTrueWithFalse",
)


@dataclass(frozen=True, slots=True)
class Target:
    """A module, and the tests that are to see every change of it."""

    module: str
    tests: tuple[str, ...]


GATEWAY: Final = "data_plane/sie_gateway"
WORKER: Final = "data_plane/sie_worker"
CORE: Final = "shared/core/sie_core"
FOLD: Final = "tests/property/test_fold_laws.py"
ADMISSION: Final = "tests/property/test_gateway_laws.py"
SHARES: Final = "tests/property/test_lease_share_laws.py"
TARGETS: Final = (
    Target(
        f"{GATEWAY}/request/admission.py",
        (
            f"{ADMISSION}::test_a_cut_covers_every_item_once_in_order_within_the_caps_"
            "and_no_sooner_than_it_must",
            f"{ADMISSION}::test_a_job_is_filled_to_the_last_byte_where_bytes_alone_bound_it",
            f"{ADMISSION}::test_jobs_of_small_items_are_as_few_and_as_equal_as_they_can_be",
            f"{ADMISSION}::test_what_is_in_flight_is_refused_beyond_the_caps_alone_and_given_back",
            f"{SHARES}::test_each_has_what_is_in_flight_of_its_own_and_who_is_idle_is_forgotten",
        ),
    ),
    Target(f"{GATEWAY}/request/chunks.py", ("tests/property/test_chunk_laws.py",)),
    Target(f"{GATEWAY}/request/giving_back.py", ("tests/property/test_death_laws.py",)),
    Target(f"{WORKER}/intake/placement.py", ("tests/property/test_placement_laws.py",)),
    Target(f"{WORKER}/scheduling/fairness.py", ("tests/property/test_fairness_laws.py",)),
    Target(
        f"{WORKER}/scheduling/batching.py",
        tuple(
            f"tests/property/test_{each}_laws.py"
            for each in ("batching", "pacing", "fairness", "gathering")
        ),
    ),
    Target(f"{WORKER}/scheduling/pacing.py", ("tests/property/test_pacing_laws.py",)),
    Target(
        "control_plane/sie_config/writer/rules.py",
        ("tests/property/test_rule_laws.py", "tests/property/test_condition_laws.py"),
    ),
    Target(
        f"{CORE}/chain.py",
        (
            f"{FOLD}::test_only_the_linked_entry_may_follow_a_position",
            f"{FOLD}::test_an_entry_that_is_wrong_in_one_field_does_not_follow",
            f"{FOLD}::test_an_entry_that_is_wrong_in_one_field_begins_no_log",
            f"{FOLD}::test_an_heir_that_supersedes_nothing_does_not_follow",
            f"{FOLD}::test_a_log_is_begun_at_epoch_one_and_superseded_only_by_its_own_heir",
        ),
    ),
    Target(f"{CORE}/registry.py", (FOLD,)),
)


@dataclass(frozen=True, slots=True)
class Generated:
    """One change: the lines before and after it, and the whole module with it."""

    operator: str
    before: str
    after: str
    code: str


def mutants_of(module: str) -> list[Generated]:
    """Every change of a module that is another program."""
    if not _FOLDER.is_dir():
        pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "--target", str(_FOLDER), _REQUIREMENT], check=True)
    source = (CHECKOUT / module).read_text()
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(CHECKOUT / module), *OPERATORS],
        env={**os.environ, "PYTHONPATH": str(_FOLDER)},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Generated] = {}
    for operator, code in json.loads(done.stdout):
        before, after = _changed(source, code)
        # The marks of a record say what nobody does with it: the checker of types holds them.
        is_mark = before.startswith(("@dataclass(", "class "))
        if code != source and code not in found and not is_mark:
            found[code] = Generated(operator.removeprefix("core/"), before, after, code)
    return list(found.values())


def main() -> int:
    """Run what the command line names; the exit status."""
    options = _options()
    chosen = [each for each in TARGETS if not options.only or each.module in options.only]
    if options.list:
        for target in chosen:
            mutants = mutants_of(target.module)
            sys.stdout.writelines(f"{target.module}: {m.before} -> {m.after}\n" for m in mutants)
        return 0
    open_ones = 0
    with zoos(options.jobs, CHECKOUT, timeout_s=_TIMEOUT_S, profile="generated") as each_in_a_zoo:
        for failing in each_in_a_zoo(lambda zoo, each: zoo.failing_unmutated(each.tests), chosen):
            if failing:
                sys.stderr.write(f"the tests fail without any mutant:\n{failing}\n")
                return 2
        for target in chosen:
            open_ones += _judge(target, each_in_a_zoo)
    return 1 if open_ones else 0


def _judge(target: Target, each_in_a_zoo: EachInAZoo) -> int:
    """Run every mutant of a module; how many live that nobody has judged."""
    source = (CHECKOUT / target.module).read_text()
    judged = {key_of(each) for each in JUDGED}
    began = time.monotonic()

    def lives(zoo: Zoo, each: Generated) -> tuple[Generated, bool]:
        mutant = edit(each.operator, "", target.module, source, each.code, target.tests)
        outcome = zoo.run(mutant)
        return each, not outcome.killer and not outcome.hung

    mutants = mutants_of(target.module)
    lived = [each for each, alive in each_in_a_zoo(lives, mutants) if alive]
    open_ones = [each for each in lived if (target.module, each.before, each.after) not in judged]
    for each in open_ones:
        sys.stdout.write(f"  {each.operator}\n  - {each.before}\n  + {each.after}\n")
    sys.stdout.write(
        f"{target.module}: {len(mutants)} mutants, {len(lived)} live, "
        f"{len(open_ones)} of them not judged, {time.monotonic() - began:.0f} s\n"
    )
    sys.stdout.flush()
    return len(open_ones)


def _changed(before: str, after: str) -> tuple[str, str]:
    """The first line that differs, as it was and as it is."""
    pairs = zip(before.splitlines(), after.splitlines(), strict=False)
    found = next(((old, new) for old, new in pairs if old != new), ("", ""))
    return found[0].strip(), found[1].strip()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.generated")
    parser.add_argument("--only", action="append", default=[], metavar="MODULE")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="side by side")
    parser.add_argument("--list", action="store_true", help="only list them")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
