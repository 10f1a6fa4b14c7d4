"""Zoos side by side.

*shell.* Owns a thread for each.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol, TypeVar

from tests.mutants.zoo import Zoo

__all__ = ["EachInAZoo", "zoos"]

_One = TypeVar("_One")
_Told = TypeVar("_Told")


class EachInAZoo(Protocol):
    """Does something with each of many in one of the zoos; what came of it, as it comes."""

    def __call__(
        self, what: Callable[[Zoo, _One], _Told], many: Iterable[_One], /
    ) -> Iterator[_Told]: ...


@contextmanager
def zoos(
    jobs: int, checkout: Path, *, timeout_s: float, profile: str = "mutants"
) -> Iterator[EachInAZoo]:
    """So many zoos; gives what runs many things in them."""
    with ExitStack() as stack, ThreadPoolExecutor(jobs) as pool:
        # They are entered before the pool is left, and left after it: what runs has its zoo.
        free: SimpleQueue[Zoo] = SimpleQueue()
        opened = [Zoo(checkout, timeout_s=timeout_s, profile=profile) for _ in range(jobs)]
        for zoo in pool.map(Zoo.__enter__, opened):
            stack.push(zoo)
            free.put(zoo)

        def in_a_zoo(what: Callable[[Zoo, _One], _Told], one: _One) -> _Told:
            zoo = free.get()
            try:
                return what(zoo, one)
            finally:
                free.put(zoo)

        def each_in_a_zoo(
            what: Callable[[Zoo, _One], _Told], many: Iterable[_One]
        ) -> Iterator[_Told]:
            try:
                for done in as_completed([pool.submit(in_a_zoo, what, one) for one in many]):
                    yield done.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

        yield each_in_a_zoo
