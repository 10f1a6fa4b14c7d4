"""Generated mutants: `python -m tests.mutants.generated [--only MODULE] [--list]`.

*main.* cosmic-ray, in a folder of its own, makes every small change of a module; each lives in a
fork of this process while the tests of that module run. A survivor is judged in `judged`, or a
test is missing. Exit status 0 if every mutant was killed or is judged, 1 if one is not, 2 if the
tests fail without any.
"""

import argparse
import importlib.abc
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final

import hypothesis
import pytest
from tests.mutants.judged import JUDGED, Judged, key_of

CHECKOUT: Final = Path(__file__).parents[2]
_REQUIREMENT: Final = "cosmic-ray==8.7.0"
_FOLDER: Final = Path(sys.prefix) / "apart" / "cosmic-ray"
_FIRST_TIMEOUT_S: Final = 900.0
_TIMES_AS_LONG: Final = 10.0
"""A change that makes the tests of a module take so many times as long is seen, as one that fails
them is. Another bound would take a busy machine for a test."""
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
ADMISSION: Final = "tests/property/test_gateway_laws.py"
TARGETS: Final = (
    Target(
        f"{GATEWAY}/request/admission.py",
        (
            f"{ADMISSION}::test_a_cut_covers_every_item_once_in_order_within_the_caps_"
            "and_no_sooner_than_it_must",
            f"{ADMISSION}::test_jobs_of_small_items_are_as_few_and_as_equal_as_they_can_be",
            f"{ADMISSION}::test_what_is_in_flight_is_refused_beyond_the_caps_alone_and_given_back",
        ),
    ),
    Target(f"{GATEWAY}/request/chunks.py", ("tests/property/test_chunk_laws.py",)),
    Target(f"{GATEWAY}/request/giving_back.py", ("tests/property/test_death_laws.py",)),
    Target(f"{WORKER}/intake/placement.py", ("tests/property/test_placement_laws.py",)),
    Target(f"{WORKER}/scheduling/fairness.py", ("tests/property/test_fairness_laws.py",)),
    Target(f"{WORKER}/scheduling/batching.py", ("tests/property/test_batching_laws.py",)),
    Target(f"{WORKER}/scheduling/pacing.py", ("tests/property/test_pacing_laws.py",)),
    Target(
        "control_plane/sie_config/writer/rules.py",
        ("tests/property/test_condition_laws.py", "tests/unit/test_config_writes.py"),
    ),
    Target(
        f"{CORE}/chain.py",
        ("tests/property/test_fold_laws.py", "tests/property/test_schema_laws.py"),
    ),
    Target(f"{CORE}/registry.py", ("tests/property/test_fold_laws.py",)),
)


@dataclass(frozen=True, slots=True)
class Generated:
    """One change: the lines before and after it, and the whole module with it."""

    operator: str
    before: str
    after: str
    code: str


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Gives one module with its change to whoever imports it."""

    def __init__(self, name: str, path: Path, code: str) -> None:
        self._name, self._path, self._code = name, path, code

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._path, loader=self)

    def get_source(self, fullname: str) -> str:
        return self._code

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._code, str(self._path), "exec")


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


def lives(target: Target, mutant: Generated | None, *, timeout_s: float) -> bool:
    """True if the tests of a module pass with this change, or with none, within a time."""
    path = CHECKOUT / target.module
    parts = target.module.removesuffix(".py").split("/")
    start = next(place for place, part in enumerate(parts) if part.startswith("sie_"))
    child = os.fork()
    if not child:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        if mutant is not None:
            sys.meta_path.insert(0, _Finder(".".join(parts[start:]), path, mutant.code))
        options = ["-x", "-q", "--tb=no", "-p", "no:xdist", "--assert=plain"]
        os._exit(int(pytest.main([*options, *target.tests])))
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status == 0
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def main() -> int:
    """Run what the command line names; the exit status."""
    options = _options()
    chosen = [each for each in TARGETS if not options.only or each.module in options.only]
    judged = {key_of(each): each for each in JUDGED}
    open_ones = 0
    os.environ["HYPOTHESIS_PROFILE"] = "mutants"
    for target in chosen:
        mutants = mutants_of(target.module)
        if options.list:
            sys.stdout.writelines(f"{target.module}: {m.before} -> {m.after}\n" for m in mutants)
            continue
        began = time.monotonic()
        if not lives(target, None, timeout_s=_FIRST_TIMEOUT_S):
            sys.stderr.write(f"the tests of {target.module} fail without any mutant\n")
            return 2
        timeout_s = _TIMES_AS_LONG * (time.monotonic() - began)
        survivors = [each for each in mutants if lives(target, each, timeout_s=timeout_s)]
        took_s = time.monotonic() - began
        unjudged = [m for m in survivors if (target.module, m.before, m.after) not in judged]
        open_ones += len(unjudged)
        sys.stdout.write(
            f"{target.module}: {len(mutants)} mutants, {len(survivors)} live, "
            f"{len(unjudged)} of them not judged, {took_s:.0f} s\n"
        )
        for mutant in unjudged:
            sys.stdout.write(f"  {mutant.operator}\n  - {mutant.before}\n  + {mutant.after}\n")
        sys.stdout.flush()
    return 1 if open_ones else 0


def _changed(before: str, after: str) -> tuple[str, str]:
    """The first line that differs, as it was and as it is."""
    pairs = zip(before.splitlines(), after.splitlines(), strict=False)
    found = next(((old, new) for old, new in pairs if old != new), ("", ""))
    return found[0].strip(), found[1].strip()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.generated")
    parser.add_argument("--only", action="append", default=[], metavar="MODULE")
    parser.add_argument("--list", action="store_true", help="only list them")
    return parser.parse_args()


__all__ = ["OPERATORS", "TARGETS", "Generated", "Judged", "Target", "lives", "main", "mutants_of"]
assert hypothesis, "imported here, so that no fork has to"

if __name__ == "__main__":
    sys.exit(main())
