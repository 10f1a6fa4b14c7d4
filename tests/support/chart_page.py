"""The made files of the chart: its README and values from the schema, settings from the code.

`python -m tests.support.chart_page` writes all of them.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml
from tests.support.chart import CHART
from tests.support.settings_page import PROCESSES

__all__ = ["README", "SETTINGS", "VALUES", "leaves", "names", "page", "schema", "written"]

README: Final = CHART / "README.md"
SETTINGS: Final = CHART / "files/settings.txt"
VALUES: Final = CHART / "files/values.txt"
_HEAD: Final = """# sie-cluster

A chart for Kubernetes 1.30 and newer: gateways, sie-config with the log, workers by kind, NATS.
`docs/operations/install.md` says how to install it. Values files: `values-local.yaml`, `-gke`,
`-eks`, `-aks`, `-ha`, `-airgapped`, and `values-gliner.yaml` for one more kind of worker.

Every value is below; `values.schema.json` refuses all others by name. `python -m
tests.support.chart_page` writes this page from the schema and `values.yaml`.

| Value | Default | What it is |
|---|---|---|
"""


def schema() -> dict[str, Any]:
    """The schema of the values."""
    found: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
    return found


def names() -> str:
    """The variables that our processes read, a line each; those of the supervisor are not here."""
    found = {
        f"{prefix}_{field.name.upper()}"
        for prefix, (name, cls) in PROCESSES.items()
        if name.startswith("sie-")
        for field in dataclasses.fields(cls)
    }
    return "".join(f"{name}\n" for name in sorted(found))


def _given() -> str:
    """The values that every release has, a line each: a template reads them without a default."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    found = [path for path, _ in leaves(schema()) if "KIND" not in path and _has(values, path)]
    return "".join(f"{path}\n" for path in found)


def _has(values: Any, path: str) -> bool:
    for part in path.split("."):
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True


def leaves(node: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(path, schema) of every value that is set as a whole."""
    told = schema()["$defs"][node["$ref"].rpartition("/")[2]] | node if "$ref" in node else node
    each = told.get("additionalProperties")
    if "properties" in told and "examples" not in told:
        for name, inner in told["properties"].items():
            yield from leaves(inner, f"{path}.{name}" if path else name)
    elif isinstance(each, Mapping) and "examples" not in told:
        yield from leaves(each, f"{path}.KIND")
    else:
        yield path, told


def page() -> str:
    """The README as it ought to be."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    rows = [
        f"| `{path}` | {_default(values, path)} | {_meaning(told)} |\n"
        for path, told in leaves(schema())
    ]
    return _HEAD + "".join(rows)


def written() -> dict[str, str]:
    """The text of each of these files, by path below the chart."""
    texts = {README: page(), SETTINGS: names(), VALUES: _given()}
    return {str(path.relative_to(CHART)): text for path, text in texts.items()}


def _default(values: Any, path: str) -> str:
    for part in path.replace("KIND", "cpu").split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return f"`{json.dumps(values)}`" if values not in (None, "", {}, []) else ""


def _meaning(told: Mapping[str, Any]) -> str:
    allowed = told.get("enum")
    words = str(told["description"]).replace("|", "\\|")
    return words + (f" ({', '.join(f'`{each}`' for each in allowed)})" if allowed else "")


if __name__ == "__main__":
    for path, text in written().items():
        (CHART / path).write_text(text)
