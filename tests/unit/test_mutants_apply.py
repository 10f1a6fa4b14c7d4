"""The mutant zoo is in step with the code: every mutant applies, and the table lists each."""

from pathlib import Path

import pytest
from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import Mutant, NotApplicable, edit, mutated

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_applies_to_the_code_as_it_is_and_its_tests_exist(mutant: Mutant):
    for path, text in mutated(CHECKOUT, mutant).items():
        assert text != path.read_text()
        compile(text, str(path), "exec")
    for killer in mutant.killers:
        file, _, name = killer.partition("::")
        function = name.partition("[")[0]
        assert f"def {function}" in (CHECKOUT / file).read_text()


def test_an_edit_whose_fragment_is_gone_or_not_alone_is_refused(tmp_path):
    (tmp_path / "a.py").write_text("one\ntwo\ntwo\n")
    for fragment in ("two", "three"):
        with pytest.raises(NotApplicable, match="stands"):
            mutated(tmp_path, edit("m", "why", "a.py", fragment, "", []))


def test_every_mutant_has_a_name_of_its_own_and_a_row_with_its_killer_in_the_docs():
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names)
    rows = (CHECKOUT / "docs" / "mutants.md").read_text().splitlines()
    listed = [row.split("`")[1] for row in rows if row.startswith("| `")]
    assert listed == names
    assert not [row for row in rows if "**nothing**" in row]
