"""A program in a process of its own: what it says counts once it has ended well."""

import os
import resource
import sys
from pathlib import Path

import pytest

from sie_server.bounded_child import Bounds, NotAnswered, answered

BOUNDS = Bounds(memory_bytes=64 * 1024**2, cpu_s=1, written_bytes=65536, time_s=60.0)
DEATHS = {
    "killed with half an answer out": (
        "os.write(3, b'half')\n    os.kill(os.getpid(), signal.SIGKILL)",
        "ended by SIGKILL",
    ),
    "a broken library": ("os.abort()", "died of SIGABRT"),
    "a signal without a name": ("os.kill(os.getpid(), 40)", "died of signal 40"),
    "a loop": ("while True: pass", "more than 1 s of processor time"),
    "memory": ("return b'a' * 1024**3", "status 1: MemoryError"),
    "a long answer": ("return b'a' * 100_000", "File too large"),
    "an error": ("raise ValueError('no good')", "status 1: ValueError: no good"),
}


def program(folder: Path, answer: str) -> Path:
    path = folder / "program.py"
    head = "import os, signal, time\n\ndef prepare():\n    return answer\n\n"
    path.write_text(f"{head}def answer(question):\n    {answer}\n")
    return path


@pytest.mark.parametrize(("answer", "reason"), DEATHS.values(), ids=DEATHS)
def test_a_child_that_dies_is_told_by_its_death(tmp_path, answer, reason):
    with pytest.raises(NotAnswered, match=reason):
        answered(program(tmp_path, answer), b"", BOUNDS)


def test_a_child_that_waits_for_ever_is_ended(tmp_path):
    bounds = Bounds(memory_bytes=64 * 1024**2, cpu_s=1, written_bytes=65536, time_s=0.2)
    with pytest.raises(NotAnswered, match=r"longer than 0\.2 s"):
        answered(program(tmp_path, "time.sleep(3600)"), b"", bounds)


def test_what_a_library_prints_is_no_part_of_the_answer(tmp_path):
    path = program(tmp_path, "print('loaded'); return question[::-1]")
    assert answered(path, b"a question", BOUNDS) == b"noitseuq a"


def test_a_child_has_no_settings_of_its_parent(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    path = program(tmp_path, "return repr(sorted(os.environ)).encode()")
    assert b"HF_TOKEN" not in answered(path, b"", BOUNDS)


def test_a_child_that_cannot_start_is_told_and_leaves_no_file_open(tmp_path, monkeypatch):
    path = program(tmp_path, "return b'well'")
    before = len(os.listdir("/dev/fd"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/dev/fd")))
    try:
        # Each number of files at which some step has none.
        for spare in range(1, 8):
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest + spare, hard))
            try:
                assert answered(path, b"", BOUNDS) == b"well"
            except NotAnswered as error:
                assert "could not be started" in str(error)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(os.listdir("/dev/fd")) == before
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    with pytest.raises(NotAnswered, match="could not be started"):
        answered(path, b"", BOUNDS)
    assert len(os.listdir("/dev/fd")) == before
