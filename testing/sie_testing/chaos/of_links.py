"""Faults of links: reset, held, slow. Everybody reaches broker and sie-config by one of his own.

*shell.*
"""

from collections.abc import Awaitable, Callable
from typing import Final

from sie_testing.chaos.scene import Fault, Scene
from sie_testing.processes.proxy import Link

__all__ = ["FAULTS"]


def _on(
    chosen: Callable[[str], bool], what: Callable[[Link], None]
) -> Callable[[Scene], Awaitable[None]]:
    async def strike(scene: Scene) -> None:
        scene.strikes()
        for name, link in scene.cluster.links.items():
            if chosen(name):
                what(link)

    return strike


async def _mend(scene: Scene) -> None:
    scene.cluster.heal()


def _fault(
    name: str, done: str, chosen: Callable[[str], bool], what: Callable[[Link], None]
) -> Fault:
    return Fault(name=name, done=done, strike=_on(chosen, what), mend=_mend, lasts_s=6)


def _held(link: Link) -> None:
    link.hold("up", "down")


def _deaf(link: Link) -> None:
    link.hold("down")


def _slow(link: Link) -> None:
    link.slow(0.2)


FAULTS: Final = (
    _fault(
        "sie-config's bus cut",
        "each connection of sie-config to the broker is reset, for 6 s",
        lambda name: name == "config>broker",
        Link.cut,
    ),
    _fault(
        "gateways' bus cut",
        "each connection of a gateway to the broker is reset, for 6 s",
        lambda name: name.startswith("gateway") and name.endswith(">broker"),
        Link.cut,
    ),
    _fault(
        "a worker's bus held",
        "what worker-0 and the broker send waits, both ways, for 6 s",
        lambda name: name == "worker-0>broker",
        _held,
    ),
    _fault(
        "replicas hear nothing",
        "what the broker sends to gateways and workers waits, for 6 s: they speak and hear nothing",
        lambda name: not name.startswith("config") and name.endswith(">broker"),
        _deaf,
    ),
    _fault(
        "sie-config cut off",
        "each connection to sie-config and from it to the broker is reset, for 6 s",
        lambda name: name.endswith(">config") or name == "config>broker",
        Link.cut,
    ),
    _fault(
        "writes' answers held",
        "what sie-config answers to clients waits for 6 s: no write's outcome is known",
        lambda name: name == "client>config",
        _deaf,
    ),
    _fault("everything slow", "every piece on every link comes 0.2 s later", bool, _slow),
)
