"""The access of a local cluster's gateways and workers to a sie-config that asks for tokens.

*shell.* Owns `replicas.json` in the data folder: the hashes of two tokens, made at every start.
They may read and report as the replicas of this cluster, and do nothing else. The tokens go through
the environment alone. Where no tokens are in force there are none, and one that the operator gave
stays.
"""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from sie_cli.access.private_files import write_private
from sie_runtime.access.access import Grant, Tokens, hash_of

__all__ = ["with_replica_access"]

_FILE: Final = "replicas.json"
_AUTH_FILE: Final = "SIE_CONFIG_AUTH_FILE"
_ROLES: Final = {"gateway": "SIE_GATEWAY_CONFIG_TOKEN", "worker": "SIE_WORKER_CONFIG_TOKEN"}


def with_replica_access(data: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of the cluster's processes, with the tokens that its replicas need."""
    found = dict(environment)
    if not found.get(_AUTH_FILE) or found.get("SIE_CONFIG_REPLICA_AUTH_FILE"):
        return found
    grants: list[Grant] = []
    for role, variable in _ROLES.items():
        if found.get(variable):
            continue
        token = found[variable] = "sie_" + secrets.token_urlsafe(32)
        grants.append(
            Grant(
                name=f"local {role}s",
                sha256=hash_of(token.encode()),
                roles=("read", "report"),
                replica=f"{role}/local*",
            )
        )
    write_private(data / _FILE, msgspec.json.encode(Tokens(tokens=tuple(grants))))
    found["SIE_CONFIG_REPLICA_AUTH_FILE"] = str(data / _FILE)
    return found
