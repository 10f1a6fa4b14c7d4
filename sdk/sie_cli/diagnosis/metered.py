"""Troubles that only metrics show: certificates, releases, and what was counted a while ago.

*pure.* Judges by the bounds of the alerts, one look at a time: no alert on a rate is among them.
A count is a trouble while its last is as near as its alert looks back. The counts of a release
that does not date them are a warning for as long as they are there.
"""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from msgspec import Struct

from sie_cli.diagnosis.figures import Figures
from sie_core.counted import counted
from sie_core.troubles import Trouble

__all__ = ["metered_troubles"]

_DAY_S: Final = 86_400.0
_SOON_S: Final = 14 * _DAY_S
"""The bounds of `SieCertificateEnds` and `SieCertificateEndsSoon`."""
_CACHE_BYTES: Final = 2e9
"""The bound of `SieModelCacheFills`: about the size of a model."""
_RECENT_S: Final = 15 * 60.0
"""The window of the alerts on these counters."""
_EXPIRES: Final = "sie_http_certificate_expires_timestamp_seconds"


class _Counted(Struct, frozen=True):
    """A counter whose growth is an alert. `kinds` are values of its one label; none is all."""

    name: str
    kinds: tuple[str, ...]
    what: str
    cure: str
    command: str = "sie logs {role}"

    @property
    def dated(self) -> str:
        """The gauge beside it: the moment of the last, in Unix time."""
        return self.name.removesuffix("_total") + "_last_timestamp_seconds"


_COUNTED: Final = (
    _Counted(
        "sie_bus_errors_total",
        ("permission", "broker_speaks_for_another"),
        "{who} tries on the broker what it may not",
        "After an upgrade the broker wants the new users.conf, which the chart brings. Else "
        "somebody has that password: change it.",
    ),
    _Counted(
        "sie_replica_forged_total",
        (),
        "{who} was given what the log's key did not sign",
        "Nothing of it was applied. Change the broker's passwords, and find the sender.",
    ),
    _Counted(
        "sie_config_claims_forged_total",
        (),
        "{who} was given claims that the log's key did not sign",
        "Nothing of it was applied. Change the broker's passwords, and find the sender.",
    ),
    _Counted(
        "sie_config_self_checks_total",
        ("differs",),
        "What {who} serves and its entries differed",
        "See which side differs. A replica is mended by a restart; suspect memory or disk.",
        "sie verify",
    ),
)


def metered_troubles(pages: Mapping[str, Figures], now: float) -> Iterator[Trouble]:
    """The troubles of the services whose metrics could be read, by role. `now` is Unix time."""
    for role, figures in pages.items():
        yield from _of_certificates(role, figures, now)
        yield from _of_counts(role, figures, now)
        yield from _of_files(role, figures)
        yield from _of_cache(role, figures)
    yield from _of_releases(pages)


def _of_certificates(role: str, figures: Figures, now: float) -> Iterable[Trouble]:
    for (name, labels), ends in figures.items():
        left_s = ends - now
        if name != _EXPIRES or left_s >= _SOON_S:
            continue
        file = dict(labels).get("file", "")
        left = f"ends within {counted(int(left_s // _DAY_S) + 1, 'day')}"
        yield Trouble(
            tone="bad" if left_s < _DAY_S else "warn",
            id=f"certificate {role} {file}",
            what=f"The certificate of {_who(role)} {left if left_s > 0 else 'has ended'}",
            evidence=file,
            cure="Then nobody connects. Renew it, and put certificate and key where they were: "
            "they are taken up without a restart.",
            command=f"openssl x509 -noout -subject -issuer -enddate -in {shlex.quote(file)}",
        )


def _of_counts(role: str, figures: Figures, now: float) -> Iterable[Trouble]:
    for each in _COUNTED:
        count = sum(_of_kinds(each, each.name, figures))
        last = max(_of_kinds(each, each.dated, figures), default=None)
        ago_s = None if last is None else max(0.0, now - last)
        if count and (ago_s is None or ago_s <= _RECENT_S):
            ago = "" if ago_s is None else f", the last {ago_s:.0f} s ago"
            yield Trouble(
                tone="warn",
                id=f"{each.name} {role}",
                what=each.what.format(who=_who(role)),
                evidence=f"{each.name} counts {count:.0f} since its start{ago}",
                cure=each.cure,
                command=each.command.format(role=role),
            )


def _of_kinds(counted: _Counted, series: str, figures: Figures) -> Iterator[float]:
    for (name, labels), value in figures.items():
        if name == series and (
            not counted.kinds or any(kind in counted.kinds for _, kind in labels)
        ):
            yield value


def _of_files(role: str, figures: Figures) -> Iterable[Trouble]:
    if figures.get(("sie_replica_files_refused", ())):
        yield Trouble(
            tone="warn",
            id=f"files {role}",
            what=f"The disk of {_who(role)} refuses its files",
            evidence="the last write of them failed",
            cure="It serves on, and needs sie-config at its next start. Free space or mend the "
            "disk; it is tried with the next change.",
            command=f"sie logs {role}",
        )


def _of_cache(role: str, figures: Figures) -> Iterable[Trouble]:
    free = figures.get(("sie_server_cache_free_bytes", ()))
    if free is not None and free < _CACHE_BYTES:
        yield Trouble(
            tone="warn",
            id=f"cache {role}",
            what=f"The disk of the models' files of {_who(role)} is nearly full",
            evidence=f"{free:.0f} bytes are free",
            cure="A further download fails. Set SIE_SERVER_HUB_BYTES_MAX, or enlarge it.",
            command="df -h",
        )


def _of_releases(pages: Mapping[str, Figures]) -> Iterable[Trouble]:
    found: dict[str, list[str]] = {}
    for role, figures in pages.items():
        for name, labels in figures:
            if name == "sie_build_info":
                found.setdefault(dict(labels).get("version", ""), []).append(role)
    if len(found) > 1:
        yield Trouble(
            tone="warn",
            id="releases",
            what=f"{len(found)} releases run together",
            evidence="; ".join(f"{each}: {', '.join(found[each])}" for each in sorted(found)),
            cure="That works during an upgrade and is not meant to last: end it, or take it back.",
        )


def _who(role: str) -> str:
    return {"config": "sie-config", "gateway": "the gateway"}.get(role, role)
