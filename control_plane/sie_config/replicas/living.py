"""The places of live workers, and the models that gateways were asked for, as replicas told lately.

*pure.* A worker counts while it was heard of; traffic counts for an hour, also of a gateway that
fell silent since. Time is an argument.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from sie_config.replicas.reports import Sighting
from sie_config.writer.dark import Live, Place

__all__ = ["live_of"]

_TRAFFIC_S: Final = 3600.0


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


def _keep_newest(found: dict[str, tuple[float, str]], name: str, ago_s: float, who: str) -> None:
    if ago_s <= _TRAFFIC_S and ago_s < found.get(name, (_TRAFFIC_S + 1, ""))[0]:
        found[name] = (ago_s, who)


def _in_words(found: Mapping[str, tuple[float, str]]) -> dict[str, str]:
    return {
        name: f"{who} was asked for it {ago_s:.0f} s ago" for name, (ago_s, who) in found.items()
    }
