"""Mutants of rooms that nobody had looked through: devices, followers, leases, the command line.

*types.*
"""

from typing import Final

from tests.mutants.mutant import Mutant, edit

__all__ = ["PROBED_MUTANTS"]

_DEVICE: Final = "data_plane/sie_worker/device/device.py"
_LAWS: Final = ("tests/property/test_device_laws.py",)

PROBED_MUTANTS: Final[tuple[Mutant, ...]] = (
    edit(
        "who-left-during-a-load-is-run",
        "while a model loads its clients leave, and the device works for them all the same",
        _DEVICE,
        "        refused |= self._drop_unwanted(holds)\n",
        "",
        _LAWS,
    ),
    edit(
        "a-part-that-was-answered-is-run-again",
        "a batch that is split runs anew from its beginning when a later part finds its model gone",
        _DEVICE,
        """            return await self._run_present(batch, part)

        return await run_isolated(run, work, passes_max=self._limits.isolation_passes_max)
""",
        """            return await self._run_wanted(batch, part)

        for _ in range(_EVICTED_MAX + 1):
            try:
                return await run_isolated(run, work, passes_max=self._limits.isolation_passes_max)
            except SIEError as error:
                if error.code not in _NOT_LOADED:
                    raise
                self.models.forget(batch.lane.model_revision)
        raise AssertionError
""",
        _LAWS,
    ),
)
