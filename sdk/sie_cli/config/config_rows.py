"""Rows of the configuration sub-commands: what is shown of an entity, an entry, an audit row.

*pure.* Only shortens and joins; `-o json` and `-o yaml` show what the service said instead.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

from sie_sdk.config.calls import Kind

__all__ = [
    "COLUMNS",
    "audit_row",
    "change_line",
    "entity_row",
    "entry_row",
    "field_line",
    "name_of",
    "replica_row",
    "shortened",
    "state_of",
    "trial_line",
    "trouble_lines",
    "verified_lines",
]

COLUMNS: Final[Mapping[Kind, Sequence[str]]] = {
    "model": ["name", "profiles", "tasks", "pool", "epoch"],
    "adapter": ["name", "description", "epoch"],
    "bundle": ["name", "backends", "priority", "epoch"],
    "pool": ["name", "machine_profiles", "epoch"],
}


_CHANGES_SHOWN: Final = 4
"""An entry may hold thousands."""


def name_of(kind: Kind, row: Mapping[str, Any]) -> str:
    """The key of an entity that was listed."""
    if kind == "adapter":
        return f"{row['model_id']}/{row['name']}"
    return cast(str, row["model_id"] if kind == "model" else row["name"])


def entity_row(kind: Kind, row: Mapping[str, Any]) -> dict[str, Any]:
    """An entity in a table."""
    shown = dict(row["document"])
    for field in ("profiles", "tasks"):
        if field in shown:
            shown[field] = sorted(shown[field])
    if "source" in shown:
        shown["source"] = _source_text(shown["source"])
    return shown | {
        "name": name_of(kind, row),
        "epoch": row["modified_epoch"],
        "etag": row["etag"],
    }


def entry_row(envelope: Mapping[str, Any]) -> dict[str, Any]:
    """An entry: what it says of itself, and what it changes."""
    body = envelope["body"]
    changes = [f"{each['kind']} {each.get('key', '')}".strip() for each in body["changes"]]
    told = ("epoch", "ts", "actor", "reason", "request_id", "state_digest")
    return {name: body[name] for name in told} | {"hash": envelope["hash"], "changes": changes}


def shortened(row: Mapping[str, Any]) -> dict[str, Any]:
    """An entry for a table: the first of its changes, and how many more there are."""
    changes = row.get("changes", [])
    if len(changes) <= _CHANGES_SHOWN:
        return dict(row)
    more = f"and {len(changes) - _CHANGES_SHOWN} more"
    return {**row, "changes": [*changes[:_CHANGES_SHOWN], more]}


def state_of(row: Mapping[str, Any]) -> str:
    """The state of a replica: its own word, or what became of it since."""
    if row.get("gone"):
        return "gone"
    return str(row["state"]) if row["live"] else "lost"


def replica_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A replica as a table shows it: one that is gone is no live one, whatever it said last."""
    return dict(row) | {"state": state_of(row), "live": row["live"] and not row.get("gone")}


def trouble_lines(replicas: Iterable[Mapping[str, Any]]) -> list[str]:
    """Each living worker that runs no jobs and each model that one could not load, with the
    reason."""
    live = [row for row in replicas if row.get("live", True)]
    idle = [
        f"{row['role']} {row['id']} runs no jobs: {row['trouble']}"
        for row in live
        if row.get("trouble")
    ]
    return idle + [
        f"{row['role']} {row['id']} cannot load {model}: {said.get('reason', '')}"
        for row in live
        for model, said in sorted((row.get("models") or {}).items())
        if said.get("state") == "failed"
    ]


def change_line(row: Mapping[str, Any]) -> str:
    """A change or an entry in one line."""
    what = row["kind"] if "kind" in row else ", ".join(shortened(row)["changes"])
    reason = f"  ({row['reason']})" if row["reason"] else ""
    return f"{row['epoch']}  {row['ts']}  {row['actor']}  {what}{reason}"


def field_line(row: Mapping[str, Any]) -> str:
    """A field, and the change that gave it its value, in one line."""
    value = json.dumps(row["value"], ensure_ascii=False)
    return f"{row['path']}: {value}  (epoch {row['epoch']}, {row['actor']}, {row['ts']})"


def trial_line(answer: Mapping[str, Any]) -> str:
    """The outcome of a dry run, beside what differs: its place, and whom it meets."""
    met = [
        f"{row['role']} {row['id']}" + (f" ({', '.join(row['models'])})" if row["models"] else "")
        for row in answer["replicas"]
    ]
    place = f"epoch {answer['epoch']}, digest {answer['state_digest'][:12]}"
    would = "would be" if answer["changed"] else "stays"
    return f"it {would} {place}; it meets {', '.join(met) or 'no replica'}"


def verified_lines(found: Mapping[str, Any]) -> list[str]:
    """The findings of a self-check: of the writer, then of the replica that it asked."""
    lines = [found["problem"] or f"the snapshot at epoch {found['epoch']} is the fold of the log"]
    replica = found["replica"]
    if replica is None:
        return [*lines, "no replica lives that could be asked"]
    name = f"{replica['role']} {replica['id']}"
    if replica["sound"] is None:
        return [*lines, f"{name} could not be asked: {replica['problem']}"]
    told = " serves the same" if replica["sound"] else f": {replica['problem']}"
    return [*lines, name + told]


def audit_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the audit for a table, with what was tried."""
    if row["outcome"] == "accepted":
        # What is of no entity says its verb in its kind.
        what = [
            f"{each['kind']}.{each['verb']} {each['key']}" if each["key"] else each["kind"]
            for each in row["changes"]
        ]
        return dict(row) | {"what": shortened({"changes": what})["changes"]}
    return dict(row) | {"what": f"{row['method']} {row['path']}"}


def _source_text(source: Mapping[str, Any]) -> str:
    """The source of weights and its pins; the hashes of files are in `-o yaml`."""
    match source["type"]:
        case "hub":
            return f"hub {source['id']}@{source['revision'][:12]}"
        case "package":
            return f"package {source['distribution']}=={source['version']}"
        case _:
            return f"{source['type']} {source.get('path', '')}".strip()
