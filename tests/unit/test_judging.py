"""A judge names the seed at which it ended, whatever ended it: with a seed one sees it again."""

import re
import sys
from collections import Counter
from pathlib import Path

import pytest
from tests.support.judging import run_judge


@pytest.mark.parametrize(
    ("error", "ended"), [(AssertionError, SystemExit), (ValueError, ValueError)]
)
def test_the_seed_that_ends_a_judge_is_named(
    error: type[Exception],
    ended: type[BaseException],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    async def judged(seed: int, folder: Path) -> Counter[str]:
        asked.append(seed)
        raise error("of it")

    monkeypatch.setattr(sys, "argv", ["judge", "--minutes", "1"])
    with pytest.raises(ended):
        run_judge("", judged)
    assert re.findall(r"seed (\d+)", capsys.readouterr().out) == [str(seed) for seed in asked]
    assert len(asked) == 1
