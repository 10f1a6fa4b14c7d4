"""The broker's configuration file: JetStream on a folder, loopback only, one user for each role.

*pure.* Promises that each user may publish and hear exactly what its role's work needs: what is not
named is refused, and nobody has everything.

- `config` alone may publish the log and its head, ask replicas, and make, mend or delete a stream
  or a consumer. It runs dead letters again, and hears what becomes of them.
- A worker's user reads the work of its pools and no other.
- Each user hears its own answers only.

One of these users can still have the *broker* deliver where it may not publish, by naming a reply.
That is dropped where it arrives (`sie_runtime.broker.bus_messages`). It chooses no port and no
password.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sie_schemas.jobs import stream_name, token

__all__ = [
    "ROLES",
    "BrokerPlan",
    "Rights",
    "authorization",
    "hub_authorization",
    "leaf_authorization",
    "render",
    "rights",
    "threads_on",
]

ROLES: Final = ("config", "gateway", "worker", "operator")
_DEFAULT_POOLS: Final = ("default",)
_OF_BROKER: Final = "$JS.API."
_OF_HUB: Final = "$JS.hub.API."
"""The hub's JetStream, as a leaf node knows it: the hub's domain is `hub`."""
_CORES_FOR_A_THREAD: Final = 4
"""More threads of the broker contend with those that compute: measured on two cores."""


@dataclass(frozen=True, slots=True)
class Rights:
    """The subjects that one user may publish and hear. `never` is taken from what `publish` names.

    The broker takes a last `*` of `subscribe` for `>` too (tried on 2.15). Below such a subject
    there is nothing that is not for this role.
    """

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    never: tuple[str, ...] = ()


_ASKED: Final = ("tail", "recount", "resync")
"""The things that the writer asks of one replica."""
_CONFIG: Final = Rights(
    publish=(
        "sie.config.log.*.e",
        "sie.config.head.*",
        "sie.config.rollcall",
        *(f"sie.config.{word}.*.*" for word in _ASKED),
        "sie.dead.*",
        "sie.result.*",
        "sie.retried.*",
        # A dead letter that the console or `sie dlq` has run again, and the word that it came.
        "sie.answer.worker.>",
        "sie.work.*.*.*.*",
        "$JS.API.STREAM.MSG.DELETE.DEAD_LETTERS",
        "$JS.ACK.>",
        *(f"$JS.API.STREAM.{verb}.*" for verb in ("CREATE", "UPDATE", "DELETE", "INFO")),
        "$JS.API.STREAM.MSG.GET.*",
        "$JS.API.STREAM.LIST",
        "$JS.API.INFO",
        "$JS.API.CONSUMER.CREATE.>",
        "$JS.API.CONSUMER.DURABLE.CREATE.*.*",
        "$JS.API.CONSUMER.NAMES.*",
        "$JS.API.CONSUMER.MSG.NEXT.SWEEP_ADVISORIES.sweeper",
    ),
    subscribe=(
        "_INBOX.config.>",
        "sie.answer.config.>",
        "sie.config.report.>",
        "sie.health.*",
        "sie.retried.*",
    ),
)
_READ_LOG: Final = ("$JS.API.DIRECT.GET.*", "$JS.API.STREAM.NAMES")
"""A log's id is not known here, and a wildcard is a whole token. So every stream can be read
directly, but for those that `_NOT_THE_LOG` names. Work streams cannot be."""
_NOT_THE_LOG: Final = tuple(
    f"$JS.API.DIRECT.GET.{name}"
    for name in ("DEAD_LETTERS", "KV_sie_leases", "OBJ_sie_jobs", "SWEEP_ADVISORIES")
)


def _follows(role: str) -> tuple[str, ...]:
    """The subjects that a replica hears."""
    return (
        "sie.config.head.*",
        "sie.config.stored.*",
        "sie.config.rollcall",
        *(f"sie.config.{word}.{role}.*" for word in _ASKED),
    )


_GATEWAY: Final = Rights(
    publish=(
        *_READ_LOG,
        "$JS.API.STREAM.INFO.KV_sie_leases",
        "$KV.sie_leases.>",
        "$O.sie_jobs.C.>",
        "sie.answer.config.>",
        "sie.answer.worker.>",
        "sie.cancel.*",
        "sie.config.report.gateway.*",
        "sie.demand.models.*.*.*",
        "sie.holding.>",
        "sie.work.*.*.*.*",
    ),
    subscribe=(
        "_INBOX.gateway.>",
        "sie.answer.gateway.gateway.>",
        *_follows("gateway"),
        "sie.demand.ask",
        "sie.health.*",
        "sie.result.*",
    ),
    never=tuple(each for each in _NOT_THE_LOG if "leases" not in each),
)
_OPERATOR: Final = Rights(
    # A person: may drop dead letters, run their jobs again, clear queues and look at the log.
    publish=(
        *_READ_LOG,
        "$JS.API.STREAM.INFO.*",
        "$JS.API.STREAM.MSG.DELETE.DEAD_LETTERS",
        "$JS.API.STREAM.PURGE.*",
        "sie.answer.worker.>",
        "sie.work.*.*.*.*",
    ),
    subscribe=("_INBOX.operator.>", "sie.answer.operator.>", "sie.retried.*"),
    never=tuple(each for each in _NOT_THE_LOG if "DEAD" not in each),
)


def rights(role: str, pools: Iterable[str] = _DEFAULT_POOLS) -> Rights:
    """The rights of a role's user; a worker's, for these pools."""
    if role == "worker":
        return _worker(tuple(pools))
    return {"config": _CONFIG, "gateway": _GATEWAY, "operator": _OPERATOR}[role]


def _worker(pools: tuple[str, ...]) -> Rights:
    names = [token(pool) for pool in pools]
    streams = [stream_name(pool) for pool in pools]
    return Rights(
        publish=(
            *_READ_LOG,
            *(f"$JS.ACK.{stream}.>" for stream in streams),
            *(f"$JS.API.CONSUMER.INFO.{stream}.*" for stream in streams),
            *(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.*" for stream in streams),
            *(f"$JS.API.DIRECT.GET.OBJ_sie_jobs.$O.sie_jobs.C.{name}.>" for name in names),
            "sie.answer.config.>",
            "sie.answer.gateway.>",
            "sie.config.report.worker.*",
            *(f"sie.dead.{name}" for name in names),
            "sie.demand.ask",
            "sie.health.*",
            "sie.result.*",
            "sie.retried.*",
        ),
        subscribe=(
            "_INBOX.worker.>",
            "sie.answer.worker.worker.>",
            "sie.cancel.*",
            *_follows("worker"),
            *(f"sie.demand.models.{name}.*.*" for name in names),
            *(f"sie.holding.{name}.>" for name in names),
            "sie.health.*",
        ),
        never=_NOT_THE_LOG,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerPlan:
    """The broker's ports, its store, and the password of each role."""

    port: int
    monitor_port: int
    store: Path
    passwords: Mapping[str, str]
    payload_bytes_max: int = 8 * 1024 * 1024
    """The broker's own recommended ceiling; larger requests are cut or go through a store."""
    pools: tuple[str, ...] = _DEFAULT_POOLS
    """The pools that the workers serve."""
    threads: int = 1
    """The threads that it may run at once."""


def threads_on(cores: int) -> int:
    """The broker's threads on a machine with so many cores, which it shares with all others.

    Left alone it takes a thread for each core, and wakes them for each other. With one client that
    was a third of its time.
    """
    return max(1, cores // _CORES_FOR_A_THREAD)


def render(plan: BrokerPlan) -> str:
    """The file's text. Values are JSON strings, which the broker reads as its own."""
    return f"""\
# Written by `sie up` at every start; edits are lost.
server_name: sie-local
host: "127.0.0.1"
port: {plan.port}
http: "127.0.0.1:{plan.monitor_port}"
max_payload: {plan.payload_bytes_max}
jetstream {{
  store_dir: {json.dumps(str(plan.store))}
  # An acknowledged entry is on the disk, not in a cache.
  sync_interval: always
}}
{authorization(lambda role: json.dumps(plan.passwords[role]), plan.pools)}"""


def authorization(password_of: Callable[[str], str], pools: Iterable[str] = _DEFAULT_POOLS) -> str:
    """The block of users. `password_of` a role is a value of the broker's syntax.

    `deploy/helm/sie-cluster/files/users.conf` is this block with `$SIE_NATS_PASSWORD_<ROLE>`; the
    chart adds a user for each pool of its workers beside `default`, made of the line of `worker`.
    """
    wanted = tuple(pools)
    users = "\n".join(_user(role, password_of(role), rights(role, wanted)) for role in ROLES)
    return f"authorization {{\n  users: [\n{users}\n  ]\n}}\n"


def leaf_authorization(
    password_of: Callable[[str], str], pools: Iterable[str] = _DEFAULT_POOLS
) -> str:
    """The same block for a broker that is a leaf node and keeps no streams.

    It takes `$JS.API.>` for the hub's before it looks at rights, so its users have those by the
    hub's name.
    """
    return authorization(password_of, pools).replace(_OF_BROKER, _OF_HUB)


def hub_authorization(
    password_of: Callable[[str], str], pools: Iterable[str] = _DEFAULT_POOLS
) -> str:
    """The block of the hub: its own users, and one for leaf nodes.

    That one may what gateways and workers may, whatever the leaf's own file says.
    """
    wanted = tuple(pools)
    both = (rights("gateway", wanted), rights("worker", wanted))
    leaf = Rights(
        publish=tuple(_in_hub(each for may in both for each in may.publish)),
        subscribe=tuple(dict.fromkeys(each for may in both for each in may.subscribe)),
        # What only one of them may not, the other does.
        never=tuple(each for each in _in_hub(both[0].never) if each in set(_in_hub(both[1].never))),
    )
    own = authorization(password_of, wanted)
    return own.replace("\n  ]\n", f"\n{_user('leaf', password_of('leaf'), leaf)}\n  ]\n")


def _in_hub(subjects: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(each.replace(_OF_BROKER, _OF_HUB) for each in subjects))


def _user(role: str, password: str, may: Rights) -> str:
    publish = f"allow: {json.dumps(list(may.publish))}"
    if may.never:
        publish += f", deny: {json.dumps(list(may.never))}"
    return (
        f"    {{ user: {json.dumps(role)}, password: {password}, permissions: {{ "
        f"publish: {{ {publish} }}, "
        f"subscribe: {{ allow: {json.dumps(list(may.subscribe))} }} }} }}"
    )
