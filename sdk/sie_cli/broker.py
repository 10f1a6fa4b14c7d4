"""The broker's configuration file: JetStream on a folder, loopback only, one user for each role.

*pure.* Promises that only `config` may publish the log and its head and ask replicas for what they
hold; that a gateway cannot speak as a worker nor a worker as a gateway, nor send work, payloads or
leases; and that neither can delete, purge or rewrite a stream. Not that a role which was taken over
cannot have the broker publish for it: whoever may make streams and consumers can. It chooses no
port and no password.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["ROLES", "BrokerPlan", "authorization", "render"]

ROLES: Final = ("config", "gateway", "worker", "operator")
_LOG_SUBJECTS: Final = ("sie.config.log.>", "sie.config.head.>")
_ASKED_SUBJECTS: Final = (
    "sie.config.rollcall",
    "sie.config.tail.>",
    "sie.config.recount.>",
    "sie.config.resync.>",
)
"""What the writer asks of replicas. A report bears witness to the log: each role sends its own."""
_WRITERS: Final = (*_LOG_SUBJECTS, *_ASKED_SUBJECTS)
_DESTRUCTIVE: Final = tuple(
    f"$JS.API.STREAM.{verb}"
    for verb in (
        "DELETE.*",
        "MSG.DELETE.*",
        "PEER.REMOVE.*",
        "PURGE.*",
        "RESTORE.*",
        "SNAPSHOT.*",
        "UPDATE.*",
    )
)
_DENIED: Final[Mapping[str, tuple[str, ...]]] = {
    "config": (),
    "gateway": (*_WRITERS, "sie.config.report.worker.>", "sie.health.>", *_DESTRUCTIVE),
    "worker": (
        *_WRITERS,
        "sie.config.report.gateway.>",
        "sie.holding.>",
        "sie.work.>",
        "$O.>",
        "$KV.>",
        *_DESTRUCTIVE,
    ),
    # A person: may drop dead letters and clear queues, and speaks for no process.
    "operator": (*_WRITERS, "sie.config.report.>", "sie.health.>"),
}
"""What each role may not publish. All else is open, so that a new subject needs no change here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerPlan:
    """Where the broker listens, where it stores, and the password of each role."""

    port: int
    monitor_port: int
    store: Path
    passwords: Mapping[str, str]
    payload_bytes_max: int = 8 * 1024 * 1024
    """The broker's own recommended ceiling; larger requests are cut or go through a store."""


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
{authorization(lambda role: json.dumps(plan.passwords[role]))}"""


def authorization(password_of: Callable[[str], str]) -> str:
    """The block of users. `password_of` a role is a value of the broker's syntax.

    `deploy/helm/sie-cluster/files/users.conf` is this block with `$SIE_NATS_PASSWORD_<ROLE>`.
    """
    users = "\n".join(_user(role, password_of(role)) for role in ROLES)
    return f"authorization {{\n  users: [\n{users}\n  ]\n}}\n"


def _user(role: str, password: str) -> str:
    denied = json.dumps(list(_DENIED[role]))
    return (
        f"    {{ user: {json.dumps(role)}, password: {password}, "
        f"permissions: {{ publish: {{ deny: {denied} }} }} }}"
    )
