"""The tables of `sie status`: a cluster's processes, its devices, the place of each replica.

*shell.* Reads the folder's record and asks sie-config. A sie-config that does not answer is shown
as that: the processes are worth seeing then most of all. It changes nothing.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import httpx

from sie_cli.access import state
from sie_cli.access.named_cluster import is_alive
from sie_cli.access.operator_access import config_bearer
from sie_cli.access.state import ClusterState
from sie_cli.config.config_rows import replica_row, trouble_lines
from sie_cli.show.printing import Form, print_lines, print_rows, print_value, talk
from sie_runtime.http.bounded_answers import ask
from sie_sdk.wire.transport import verify_of

__all__ = ["gather_status", "show_status"]

_TIMEOUT_S: Final = 5.0
"""On this machine a process answers in milliseconds, unless it hangs."""
_ANSWER_BYTES_MAX: Final = 64 * 1024**2
"""Many times the places of 10,000 replicas."""
_SHOWN_DIGITS: Final = 12
"""As git shows a hash."""
_NOT_RUNNING: Final = 3
"""As init scripts say it (LSB)."""
_NO_TOKEN: Final = frozenset({401, 403})
_HOST: Final = "127.0.0.1"
_SERVER: Final = "server-"
_PROCESS: Final = ("role", "pid", "port", "alive", "restarts", "log")
_DEVICE: Final = ("role", "device", "model", "dtype", "why", "why this dtype")
_REPLICA: Final = ("role", "id", "epoch", "digest", "state", "in step")


def show_status(data: Path, form: Form) -> int:
    """Print the status; 0 when all of it runs, 3 when it does not."""
    status = gather_status(data)
    if form.is_whole:
        print_value(status, form)
    elif not status["processes"]:
        print_lines([f"no cluster runs in {data}"])
    elif form == Form.NAME:
        print_lines([each["role"] for each in status["processes"]])
    else:
        _print_tables(status, form)
    return 0 if status["running"] else _NOT_RUNNING


def gather_status(data: Path) -> dict[str, Any]:
    """The status as JSON; `error` says why `head` and `replicas` are absent."""
    record = state.load(data)
    if record is None:
        return {"data": str(data), "running": False, "processes": [], "replicas": []}
    processes = [
        {
            "role": process.role,
            "pid": process.pid,
            "port": process.port or None,
            "log": process.log,
            "alive": process.alive,
            "restarts": process.restarts,
        }
        for process in (record.supervisor, *record.processes)
    ]
    return {
        "data": str(data),
        "running": record.ready and all(process["alive"] for process in processes),
        "gateway_url": record.gateway_url,
        "config_url": record.config_url,
        "nats_url": record.nats_url,
        "processes": processes,
        "devices": _devices(record),
        **_positions(record),
    }


def _devices(record: ClusterState) -> list[dict[str, Any]]:
    """The device of each process of model execution, why it is that one, and what it runs."""
    found = []
    for process in record.processes:
        if not process.role.startswith(_SERVER) or not process.alive:
            continue
        try:
            told = _asked(f"http://{_HOST}:{process.port}/readyz").json()
            found.append(
                {
                    "role": process.role,
                    "device": told["device"],
                    "why": told["device_reason"],
                    "models": told["models"],
                }
            )
        except (httpx.HTTPError, ValueError, RecursionError, LookupError, TypeError) as error:
            found.append({"role": process.role, "error": f"it does not answer: {error}"})
    return found


def _positions(record: ClusterState) -> dict[str, Any]:
    if not is_alive(record, "config"):
        # Whoever answers at its address now is somebody else.
        return {"head": None, "replicas": [], "error": "sie-config does not run"}
    try:
        at = f"{record.config_url.rstrip('/')}/v1/configs"
        head = _asked(f"{at}/epoch", config_bearer()).raise_for_status().json()
        replicas = _asked(f"{at}/replicas", config_bearer()).raise_for_status().json()
    except (httpx.HTTPError, ValueError, RecursionError) as error:
        return {"head": None, "replicas": [], "error": _no_positions(error)}
    return {"head": head, "replicas": replicas.get("replicas", [])}


def _asked(url: str, headers: Mapping[str, str] = MappingProxyType({})) -> httpx.Response:
    # Of a record that somebody may have written, and of a port that a stranger may have.
    return ask(
        "GET",
        url,
        headers=headers,
        body_bytes_max=_ANSWER_BYTES_MAX,
        within_s=_TIMEOUT_S,
        verify=verify_of(url, None),
    )


def _no_positions(error: Exception) -> str:
    """The reason in words why sie-config does not say where anybody stands."""
    if isinstance(error, httpx.HTTPStatusError) and error.response.status_code in _NO_TOKEN:
        return (
            "sie-config shows it to nobody without a token that has the role read: give one in "
            "SIE_CONFIG_TOKEN or SIE_API_KEY"
        )
    return f"sie-config does not answer: {error}; sie doctor tells more"


def _print_tables(status: dict[str, Any], form: Form) -> None:
    processes = [
        {**each, "alive": "yes" if each["alive"] else "no"} for each in status["processes"]
    ]
    print_rows(processes, _PROCESS, form)
    if status["devices"]:
        print_lines([""])
        print_rows(list(_device_rows(status["devices"])), _DEVICE, form)
    print_lines([""])
    if status.get("error"):
        talk(status["error"])
        return
    head = status["head"]
    place = (head["epoch"], head["digest"])
    print_lines([f"head: epoch {head['epoch']}, digest {head['digest'][:_SHOWN_DIGITS]}"])
    rows = [
        {
            **replica_row(row),
            "in step": "yes" if (row["epoch"], row["digest"]) == place else "not yet",
        }
        | {"digest": row["digest"][:_SHOWN_DIGITS]}
        for row in status["replicas"]
    ]
    print_rows(rows, _REPLICA, form)
    for line in trouble_lines(status["replicas"]):
        talk(line)


def _device_rows(devices: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for each in devices:
        lead = {"role": each["role"], "device": each.get("device")}
        if "error" in each:
            yield lead | {"why": each["error"]}
            continue
        for model in each["models"] or [{}]:
            told = {"why": each["why"], "why this dtype": model.get("dtype_reason")}
            yield lead | told | {name: model.get(name) for name in ("model", "dtype")}
