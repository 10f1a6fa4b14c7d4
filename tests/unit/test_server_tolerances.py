"""One place holds the tolerances by type, and every numeric test uses it."""

import re
from pathlib import Path

import pytest
import torch
from tests.support.sameness import assert_same

from sie_server.tolerances import disagreement, logits_agree
from sie_testing.soak.instruction_sets import (
    InstructionSet,
    instruction_sets,
    processor_flags,
    run_numeric,
)

_TESTS = Path(__file__).parents[1]
_OWN_NUMBERS = re.compile(r"assert_allclose|assert_close|\ballclose|\bisclose|\bapprox\(")


def test_a_number_that_is_none_counts_as_a_disagreement():
    vectors = torch.ones(2, 4)
    for number in (float("nan"), float("inf")):
        broken = vectors.clone()
        broken[1, 2] = number
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            assert disagreement(vectors, vectors, dtype) == ""
            assert disagreement(broken, vectors, dtype)
            assert disagreement(vectors, broken, dtype)
            assert disagreement(broken, broken, dtype)
            assert not logits_agree(broken, vectors, dtype)


def test_half_precision_has_a_bound_of_its_own_and_full_keeps_the_narrow_one():
    torch.manual_seed(1)
    vectors = torch.randn(3, 64)
    turned = vectors + 0.01 * torch.randn(3, 64)
    assert "cosine distance" in disagreement(turned, vectors, torch.float32)
    assert disagreement(turned, vectors, torch.float64)
    assert disagreement(turned, vectors, torch.bfloat16) == ""
    assert disagreement(turned, vectors, torch.float16) == ""
    assert disagreement(-vectors, vectors, torch.bfloat16)
    # A float32 answer may keep its direction and still be wrong in one number.
    moved = vectors.clone()
    moved[0, 0] += 1e-4
    assert "difference" in disagreement(moved, vectors, torch.float32)


def test_vectors_of_zeros_alone_are_equal_and_near_to_nothing_else():
    zeros, ones = torch.zeros(1, 4), torch.ones(1, 4)
    assert disagreement(zeros, zeros, torch.float32) == ""
    assert disagreement(zeros, ones, torch.bfloat16)
    assert disagreement(ones, zeros, torch.bfloat16)
    with pytest.raises(AssertionError, match="shape"):
        assert_same([1.0, 2.0], [[1.0], [2.0]])


def test_no_test_of_model_execution_has_tolerances_of_its_own():
    numeric = [
        path for path in sorted(_TESTS.rglob("test_*.py")) if "import torch" in path.read_text()
    ]
    assert len(numeric) > 8
    found = [
        f"{path.name}:{number}"
        for path in numeric
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if path != Path(__file__) and _OWN_NUMBERS.search(line)
    ]
    assert not found, f"tests.support.sameness.assert_same holds answers to their bound: {found}"


def test_an_instruction_set_is_run_where_the_processor_has_it(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu sse4_1 avx avx2 amx_bf16 avx512bw\n")
    sets = instruction_sets(processor_flags(cpuinfo))
    assert [each.name for each in sets] == [
        "SSE41",
        "AVX",
        "AVX2",
        "AVX512_CORE",
        "AVX512_CORE_AMX",
    ]
    assert dict(sets[2].environment) == {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    }
    assert instruction_sets(processor_flags(tmp_path / "none")) == ()
    cpuinfo.write_text("Features : neon\n")
    assert instruction_sets(processor_flags(cpuinfo)) == ()


@pytest.mark.parametrize("holds", [True, False])
def test_the_numeric_tests_of_a_checkout_run_under_a_set_and_what_failed_is_said(tmp_path, holds):
    folder = tmp_path / "tests" / "unit"
    folder.mkdir(parents=True)
    (tmp_path / "tests" / "property").mkdir()
    wanted = "AVX" if holds else "none"
    (folder / "test_some.py").write_text(
        "import os, pytest  # assert_same\n"
        "@pytest.mark.numeric\n"
        f"def test_it(): assert os.environ['ONEDNN_MAX_CPU_ISA'] == {wanted!r}\n"
        "def test_left_out(): assert False\n"
    )
    (folder / "test_other.py").write_text("raise AssertionError('imported')")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = numeric\n")
    said = run_numeric(InstructionSet("AVX", "avx", "default", "AVX"), tmp_path)
    assert ("1 failed" in said) != holds, said
