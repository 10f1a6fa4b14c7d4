"""The numeric tests of a checkout, as another processor would run them.

*shell.* oneDNN, ATen and MKL choose their kernels by the instructions that the processor has; each
can be told to do with less. Promises that every set which this processor has is named, and that the
tests marked `numeric` run under one in a process of their own. A kernel that rounds otherwise is
then met here, and not first on a user's machine.
"""

import os
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

__all__ = ["InstructionSet", "checkout", "instruction_sets", "processor_flags", "run_numeric"]


@dataclass(frozen=True, slots=True)
class InstructionSet:
    """The instruction set that the libraries are told they have."""

    name: str
    """As oneDNN calls it."""
    flag: str
    """The kernel's name for it; a processor without it would run the next smaller set again."""
    aten: str
    mkl: str

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that tell a new process."""
        return MappingProxyType(
            {
                "ONEDNN_MAX_CPU_ISA": self.name,
                "ATEN_CPU_CAPABILITY": self.aten,
                "MKL_ENABLE_INSTRUCTIONS": self.mkl,
            }
        )


_LADDER: Final = (
    InstructionSet("SSE41", "sse4_1", "default", "SSE4_2"),
    InstructionSet("AVX", "avx", "default", "AVX"),
    InstructionSet("AVX2", "avx2", "avx2", "AVX2"),
    InstructionSet("AVX2_VNNI", "avx_vnni", "avx2", "AVX2"),
    InstructionSet("AVX2_VNNI_2", "avx_ne_convert", "avx2", "AVX2"),
    InstructionSet("AVX512_CORE", "avx512bw", "avx512", "AVX512"),
    InstructionSet("AVX512_CORE_VNNI", "avx512_vnni", "avx512", "AVX512"),
    InstructionSet("AVX512_CORE_BF16", "avx512_bf16", "avx512", "AVX512"),
    InstructionSet("AVX512_CORE_FP16", "avx512_fp16", "avx512", "AVX512"),
    InstructionSet("AVX512_CORE_AMX", "amx_bf16", "avx512", "AVX512"),
    InstructionSet("AVX512_CORE_AMX_FP16", "amx_fp16", "avx512", "AVX512"),
)
_CPUINFO: Final = Path("/proc/cpuinfo")
_PATIENCE_S: Final = 1800.0
"""They take about a minute; a machine that others keep busy is no failure of theirs."""
_LINES_MAX: Final = 40
"""The summary of pytest and the last traceback."""
_COMPARES: Final = "assert_same"
"""The name that a numeric test file has in it; tests/conftest.py marks its tests by the same."""


def processor_flags(cpuinfo: Path = _CPUINFO) -> frozenset[str] | None:
    """The kernel's flags for this processor; None where it does not say, or it is no x86."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return None
    found = (line.partition(":") for line in lines)
    return next(
        (frozenset(flags.split()) for key, _, flags in found if key.strip() == "flags"), None
    )


def instruction_sets(flags: Collection[str] | None) -> tuple[InstructionSet, ...]:
    """The sets of a processor with these flags, from the smallest on; none where none are known."""
    return tuple(each for each in _LADDER if flags is not None and each.flag in flags)


def checkout() -> Path | None:
    """The folder with the tests, where this package lies in a checkout."""
    root = Path(__file__).parents[3]
    return root if (root / "tests" / "conftest.py").is_file() else None


def run_numeric(each: InstructionSet, root: Path) -> str:
    """Run the numeric tests under one set; what the tests said if they failed, else nothing."""
    argv = [sys.executable, "-m", "pytest", "-q", "-m", "numeric", *_numeric_files(root)]
    try:
        done = subprocess.run(
            argv,
            cwd=root,
            env={**os.environ, **each.environment},
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"not done after {_PATIENCE_S:.0f} s"
    if done.returncode == 0:
        return ""
    return "\n".join((done.stdout + done.stderr).splitlines()[-_LINES_MAX:])


def _numeric_files(root: Path) -> list[str]:
    # Only to spare the others' imports: the marker decides.
    return [
        str(path.relative_to(root))
        for folder in ("unit", "property")
        for path in sorted((root / "tests" / folder).glob("test_*.py"))
        if _COMPARES in path.read_text()
    ]
