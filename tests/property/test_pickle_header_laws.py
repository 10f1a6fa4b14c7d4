"""Laws of reading a pickle that is not run: it ends, by whatever operations a stranger wrote."""

import pickle
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import FrameType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sie_layouts.architectures.tensors.headers import Held
from sie_layouts.architectures.tensors.pickle_header import read_pickle

_OPERATIONS = st.sampled_from([
    b"}", b")", b"(", b"t", b"u", b"s", b"R", b"Q", b"N", b"\x85", b"\x86", b"\x87", b"b", b"\x94",
    b"K\x01", b"q\0", b"h\0", b"q\1", b"h\1", b"X\1\0\0\0a", b"X\0\0\0\0", b".", b"a", b"0",
    b"ctorch\nFloatStorage\n", b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ccollections\nOrderedDict\n", b"X\7\0\0\0storage",
])  # fmt: skip
_TABLE = (
    b"}X\1\0\0\0actorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\ntQK\0"
    b"K\2\x85tRs."
)
_CALLS_PER_BYTE = 40
"""Several times what the standard library's reader and one operation here call."""


@dataclass(frozen=True)
class _File:
    content: bytes

    def names(self) -> Mapping[str, int]:
        return {"m.bin": len(self.content)}

    def read(self, name: str) -> bytes | None:
        return self.content

    def head(self, name: str, count: int) -> bytes | None:
        return self.content[:count]


def _stored(pickled: bytes) -> _File:
    """A zip's first part, not compressed, with these bytes."""
    head = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 0, 0, 0, 0, 10, 0)
    return _File(head + b"m/data.pkl" + pickled)


def _read(pickled: bytes) -> tuple[dict[str, Held] | None, int]:
    """The table, and the calls that its reading took."""
    calls = 0

    def count(_: FrameType, event: str, __: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        found = read_pickle(_stored(pickled), "m.bin")
    finally:
        sys.setprofile(before)
    return found, calls


@given(st.lists(st.tuples(_OPERATIONS, st.integers(1, 30)), max_size=40), st.binary(max_size=9))
@example([(_TABLE, 1)], b"")
@example([(b"N", 400), (b"(t", 400)], b".")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_whatever_the_operations_a_reading_ends_in_calls_by_its_bytes(
    operations: list[tuple[bytes, int]], rest: bytes
) -> None:
    pickled = b"".join(part * times for part, times in operations) + rest
    found, calls = _read(pickled)
    assert found is None or all(isinstance(each, Held) for each in found.values())
    assert calls <= _CALLS_PER_BYTE * (len(pickled) + 10)


def test_the_example_of_a_table_is_one() -> None:
    assert _read(_TABLE)[0] == {"a": Held("F32", (2,))}


_COUNT = 300_000
"""Operations in a megabyte or less: two megabytes are read of a pickle."""


@pytest.mark.parametrize(
    "pickled",
    [
        b"}(" + b")" + b"\x85" * _COUNT + b"K\x01u.",
        b"}(" + b")q\0" + b"h\0\x86q\0" * 100_000 + b"K\x01u.",
        b"N" * _COUNT + b"(t" * _COUNT + b".",
        b"(" + b"K\1" * 300_000 + b"tq\0" + b"(X\7\0\0\0storagectorch\nFloatStorage\ntQq\1"
        b"ctorch._utils\n_rebuild_tensor_v2\nq\2" + b"h\2h\1K\0h\0\x87R" * 100_000 + b".",
        b"c" + b"torch " * 90_000 + b"\nFloatStorage\nq\0X\7\0\0\0storageq\1"
        + b"h\1h\0\x86Q" * 100_000 + b".",
    ],
    ids=["deep", "doubled", "marks", "long_shape", "long_type"],
)  # fmt: skip
def test_a_pickle_that_is_made_to_hold_a_reader_up_is_left_to_the_worker(pickled: bytes) -> None:
    assert read_pickle(_stored(pickled), "m.bin") is None


def test_a_pickle_of_another_table_is_left_to_the_worker() -> None:
    for value in ({1: 2}, {(1,): 2}, {"a" * 5000: 1}):
        assert read_pickle(_stored(pickle.dumps(value, 2)), "m.bin") is None
