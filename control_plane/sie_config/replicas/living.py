"""The places of live workers, and the models that gateways were asked for, as replicas told lately.

*pure.* A worker counts while it was heard of; traffic counts for an hour, also of a gateway that
fell silent since. The clock is an argument.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from sie_config.replicas.reports import TRAFFIC_S, Reports
from sie_config.replicas.sightings import Sighting
from sie_config.writer.dark import Live, Place

__all__ = ["LiveReplicas", "live_of"]


def live_of(sightings: Iterable[Sighting], now: float, ttl_s: float) -> Live:
    """The last word of each replica, together."""
    places: set[Place] = set()
    anywhere = False
    asked: dict[str, tuple[float, str]] = {}
    adapters: dict[str, tuple[float, str]] = {}
    for seen in sightings:
        report, age_s = seen.report, now - seen.at
        if report.role == "worker" and age_s <= ttl_s:
            anywhere = anywhere or report.place is None
            places.update(() if report.place is None else (report.place,))
        for told, found in ((report.traffic, asked), (report.adapters, adapters)):
            for name, ago_s in told.items():
                _keep_newest(found, name, age_s + ago_s, f"{report.role} {report.id}")
    return Live(frozenset(places), anywhere, _in_words(asked), _in_words(adapters))


class LiveReplicas:
    """The reports as the writer's gates ask for them: by the clock of now."""

    def __init__(self, reports: Reports, ttl_s: float, clock: Callable[[], float]) -> None:
        self._reports = reports
        self._ttl_s = ttl_s
        self._clock = clock

    def lacking(self, kinds: Collection[str], log_id: str) -> list[str]:
        """Role and id of live replicas of this log that cannot read one of these kinds."""
        return self._reports.lacking(kinds, self._clock(), log_id)

    def users_of(self, model_ids: Sequence[str]) -> dict[str, list[str]]:
        """By whom and how each of these models is used."""
        return self._reports.users_of(model_ids, self._clock())

    def live(self) -> Live:
        """The places of live workers, and what is asked for."""
        return live_of(self._reports.sightings(), self._clock(), self._ttl_s)


def _keep_newest(found: dict[str, tuple[float, str]], name: str, ago_s: float, who: str) -> None:
    if ago_s <= TRAFFIC_S and ago_s < found.get(name, (TRAFFIC_S + 1, ""))[0]:
        found[name] = (ago_s, who)


def _in_words(found: Mapping[str, tuple[float, str]]) -> dict[str, str]:
    return {
        name: f"{who} was asked for it {ago_s:.0f} s ago" for name, (ago_s, who) in found.items()
    }
