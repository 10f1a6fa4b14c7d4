"""The requests of the writer to one replica, over the bus.

*shell.* To forget its history and take a snapshot, and to count anew what it serves. Promises an
answer in bounded time, and an error that says what can be done instead.
"""

from sie_config.replicas.reports import Reports
from sie_runtime.broker.bus import Bus, BusUnavailable
from sie_schemas.errors import FixRequest, OurFault, SIEError
from sie_schemas.fleet import RECOUNT_DECODER, Recount
from sie_schemas.malformed import MALFORMED

__all__ = ["ReplicaRequests"]


class ReplicaRequests:
    """Owner: the control plane. Each request waits so many seconds for its answer."""

    def __init__(
        self, bus: Bus | None, reports: Reports, *, resync_wait_s: float, recount_wait_s: float
    ) -> None:
        self._bus = bus
        self._reports = reports
        self._resync_wait_s = resync_wait_s
        self._recount_wait_s = recount_wait_s

    async def resync(self, role: str, replica: str) -> None:
        """Have a replica forget its history and take our snapshot.

        Raises `BusUnavailable`, and `FixRequest` for one that is unknown besides.
        """
        subject = f"sie.config.resync.{role}.{replica}"
        try:
            if self._bus is None:
                raise BusUnavailable("there is no broker")
            await self._bus.request(subject, b"", timeout_s=self._resync_wait_s)
        except SIEError as error:
            # Asked first, since it may be there and not heard yet: after a start of this writer.
            known = {(seen.report.role, seen.report.id) for seen in self._reports.sightings()}
            if (role, replica) not in known:
                raise FixRequest(
                    f"no {role} {replica!r} reports here; `sie replicas` lists those that do",
                    code="NOT_FOUND",
                    field="id",
                ) from error
            raise BusUnavailable(
                f"{role} {replica} was not reached: {error.message}. Or stop it, remove its "
                "replica folder, and start it"
            ) from error

    async def recount(self, role: str, replica: str) -> Recount:
        """The count that a replica makes anew of what it serves. Raises `SIEError`."""
        if self._bus is None:
            raise BusUnavailable("without a broker no replica can be asked")
        subject = f"sie.config.recount.{role}.{replica}"
        answer = await self._bus.request(subject, b"", timeout_s=self._recount_wait_s)
        try:
            return RECOUNT_DECODER.decode(answer)
        except MALFORMED as error:
            raise OurFault(f"what {role} {replica} answered is no count: {error}") from error
