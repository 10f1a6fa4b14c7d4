"""A site behind a leaf node under load, while its hub loses one broker after the other.

`python -m tests.support.leaf_losses`, as `sie soak --leaf` runs it. Status 1 where a request was
answered wrongly, or not at all.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import httpx
from tests.support.leaf_site import Site, site
from tests.support.polling import until, until_told

from sie_schemas.errors import SIEError
from sie_sdk import SIEAsyncClient

__all__ = ["main"]

_CLIENTS: Final = 3
_LOSSES: Final = 3
_AFTER: Final = 100
"""Answers between two losses."""


class _Load:
    """Clients that never pause, and what became of their requests."""

    def __init__(self, here: Site, client: SIEAsyncClient) -> None:
        self._here, self._client = here, client
        self.answered = 0
        self.failed: list[str] = []
        self.longest_s = 0.0
        self.over = False

    async def run(self) -> None:
        """One client."""
        while not self.over:
            began = time.monotonic()
            try:
                await self._here.encode(self._client, f"text {self.answered}")
                self.answered += 1
            except (SIEError, AssertionError) as error:
                self.failed.append(repr(error))
            self.longest_s = max(self.longest_s, time.monotonic() - began)

    async def answers(self, more: int) -> None:
        """Wait for so many more."""
        wanted = self.answered + more
        await until(lambda: self.answered >= wanted)


async def _lost_in_turns(folder: Path) -> _Load:
    async with (
        site(folder) as here,
        SIEAsyncClient(here.gateway) as client,
        httpx.AsyncClient(timeout=10) as http,
    ):
        load = _Load(here, client)
        async with asyncio.TaskGroup() as group:
            for _ in range(_CLIENTS):
                group.create_task(load.run())
            await load.answers(_AFTER)
            for _ in range(_LOSSES):
                lost = await here.hub_of_leaf(http)
                await here.programs[lost].kill()

                async def is_elsewhere(lost: str = lost) -> bool:
                    return await here.hub_of_leaf(http) not in {"", lost}

                await until_told(is_elsewhere)
                await load.answers(_AFTER)
                await here.programs[lost].start()
                await load.answers(_AFTER)
                sys.stdout.write(f"{lost} was lost: {load.answered} answered so far\n")
            load.over = True
        return load


def main() -> int:
    """Lose them, and tell; the exit status."""
    with tempfile.TemporaryDirectory(prefix="sie-leaf-") as folder:
        load = asyncio.run(_lost_in_turns(Path(folder)))
    sys.stdout.write(
        f"{load.answered} answered, {len(load.failed)} not, "
        f"the longest in {load.longest_s:.1f} s\n" + "".join(f"{x}\n" for x in load.failed[:5])
    )
    return 1 if load.failed else 0


if __name__ == "__main__":
    sys.exit(main())
