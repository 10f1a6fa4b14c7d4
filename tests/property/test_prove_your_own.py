"""The guide to `sie_testing` does what it says, block by block."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def unshrunk() -> Iterator[None]:
    """The page shows the first line of a failure, which is found in 0.3 s of processor time.

    To shrink it took 30 s more, and Hypothesis gave up after five minutes beside other tests.
    """
    before = settings.get_current_profile_name()
    settings.load_profile("mutants")
    yield
    settings.load_profile(before)


@pytest.mark.usefixtures("unshrunk")
def test_the_guide_runs_and_its_faulty_policy_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copy(ROOT / "tests/data/golden_log_v1.ndjson", tmp_path / "log.ndjson")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/guides/prove_your_own.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {"__name__": "guide"}

    for block in blocks:
        exec(compile(block, "prove_your_own.md", "exec"), names)

    assert len(blocks) == 5
    assert re.search(
        r"is acknowledged at epoch \d+, where .*; wanted was its removal", names["story"]
    )
    assert names["fired"]["acknowledged"]
    assert not names["result"].failure
