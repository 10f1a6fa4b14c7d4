"""Folders that PyLate saved answer as PyLate itself did, by its golden files.

`python -m tests.support.pylate_golden` makes them, in an environment of its own.
"""

from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file
from tests.support.pylate_golden import CASES, FOLDER, QUERIES, TEXTS
from tests.support.sameness import assert_same
from tests.support.scored import load, run

from sie_cli.models.proposal import propose
from sie_layouts.folder import FolderFiles
from sie_schemas.arrays import from_wire
from sie_schemas.documents import EncodeTask, ScoreTask, Tasks

_TASKS = Tasks(encode=EncodeTask(outputs=("multivector",)), score=ScoreTask())


def _folder(case: str) -> Path:
    return FOLDER / case.replace(" ", "_")


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_a_folder_of_pylate_answers_as_pylate_did(case, padded):
    golden = load_file(_folder(case) / "answers.safetensors")
    backend = load(_folder(case) / "model", backend="transformer", tasks=_TASKS, padded=padded)
    for side, texts in (("query", QUERIES), ("document", TEXTS)):
        options: dict[str, Any] = {"is_query": side == "query"}
        together = run(backend, "encode", texts, options=options)
        for place, answer in enumerate(together):
            assert_same(from_wire(answer)["multivector"]["values"], golden[f"{side}.{place}"])
        (alone,) = run(backend, "encode", texts[1:2], options=options)
        assert_same(from_wire(alone)["multivector"]["values"], golden[f"{side}.1"])


@pytest.mark.parametrize("case", CASES)
def test_a_folder_that_pylate_saved_needs_no_other_word(case):
    found = propose(FolderFiles(_folder(case) / "model"), takes_pickles=False)
    assert [str(each) for each in found.refusals] == []
    assert found.backend == "transformer"
    assert found.tasks == {"encode": {"outputs": ["multivector"]}, "score": {}}
