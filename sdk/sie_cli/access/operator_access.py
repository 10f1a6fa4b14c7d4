"""The way of an operator's command to the broker of a local cluster.

*shell.* Owns `operator.json` in the data folder: the broker's address and the operator's password,
for its owner only, written at every start. Elsewhere the address is given, with `SIE_NATS_USER` and
`SIE_NATS_PASSWORD` in the environment.
"""

import json
import logging
import os
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

from sie_cli.access.named_cluster import running_cluster
from sie_cli.access.private_files import write_private
from sie_runtime.broker.bus import Bus, BusSettings, connected_bus
from sie_runtime.tls import client_tls
from sie_schemas.errors import FixRequest
from sie_sdk.wire.bearer import bearer_of

__all__ = ["bearer", "broker_access", "config_bearer", "operator_bus", "write_operator_access"]

_FILE: Final = "operator.json"
_USER: Final = "operator"


def write_operator_access(data: Path, *, nats_url: str, password: str) -> None:
    """Write the file anew, which nobody else may read."""
    told = {"nats_url": nats_url, "user": _USER, "password": password}
    write_private(data / _FILE, json.dumps(told).encode())


def broker_access(data: Path, nats_url: str, environ: Mapping[str, str]) -> BusSettings:
    """The broker's address and who asks. Raises `FixRequest` or `Later` where no cluster runs."""
    if nats_url:
        if not nats_url.startswith(("nats://", "tls://")):
            raise FixRequest(f"{nats_url!r} is no broker's address: nats:// or tls://HOST:4222")
        tls = client_tls(environ)
        return BusSettings(
            nats_url=nats_url,
            nats_user=environ.get("SIE_NATS_USER"),
            nats_password=environ.get("SIE_NATS_PASSWORD"),
            tls_ca_file=tls.tls_ca_file,
            tls_cert_file=tls.tls_cert_file,
            tls_key_file=tls.tls_key_file,
        )
    # The file outlives its cluster, and its port may be a stranger's by now.
    running_cluster(data, "nats", named_by="--nats-url URL or --context NAME")
    try:
        found = json.loads((data / _FILE).read_text())
        return BusSettings(
            nats_url=found["nats_url"], nats_user=found["user"], nats_password=found["password"]
        )
    except (OSError, ValueError, KeyError) as error:
        raise FixRequest(f"{data / _FILE} cannot be read ({error}): start the cluster") from error


def bearer(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The headers of a command's requests: the token in `SIE_API_KEY`, where there is one."""
    token = environ.get("SIE_API_KEY")
    return {"Authorization": bearer_of(token)} if token else {}


def config_bearer() -> dict[str, str]:
    """The same for sie-config, which may have a token of its own: `SIE_CONFIG_TOKEN`."""
    token = os.environ.get("SIE_CONFIG_TOKEN") or os.environ.get("SIE_API_KEY", "")
    return bearer({"SIE_API_KEY": token})


def operator_bus(settings: BusSettings) -> AbstractAsyncContextManager[Bus]:
    """A connection for one command. Raises `BusUnavailable`."""
    # The error says all: without a handler Python prints what a process would log, too.
    logging.getLogger().addHandler(logging.NullHandler())
    return connected_bus(settings, role=_USER, process_id=str(os.getpid()))
