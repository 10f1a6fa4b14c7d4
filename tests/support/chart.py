"""The Helm chart, rendered by Helm itself as a library, without a cluster."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import helm_python
import yaml

__all__ = ["CHART", "chart", "containers", "named", "pod_specs", "rendered", "values_of"]

CHART = Path(__file__).resolve().parents[2] / "deploy/helm/sie-cluster"


@cache
def chart() -> helm_python.Chart:
    """The chart as Helm reads it."""
    return helm_python.Chart.load(str(CHART))


def values_of(file: str, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The values of `-f FILE`, with what `--set` would add; an empty name is the defaults alone."""
    found = yaml.safe_load((CHART / file).read_text()) if file else {}
    return _merged(found, more or {})


def rendered(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Every document of a release. Raises what Helm says of values that it refuses."""
    chart().validate_schema(values)
    texts = chart().render(values, name="demo", namespace="sie")
    return [
        document
        for name, text in texts.items()
        if name.endswith(".yaml")
        for document in yaml.safe_load_all(text)
        if document
    ]


def pod_specs(documents: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(component, pod template) of everything that makes pods."""
    for document in documents:
        spec = document.get("spec", {})
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if template is not None:
            yield template["metadata"]["labels"]["app.kubernetes.io/component"], template


def containers(template: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every container of a pod, native sidecars included."""
    spec = template["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]


_VOLUMES: Final = {
    "secret": ("Secret", "secretName"),
    "configMap": ("ConfigMap", "name"),
    "persistentVolumeClaim": ("PersistentVolumeClaim", "claimName"),
}


def named(template: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(kind, name) of every document that a pod needs."""
    yield "ServiceAccount", template["spec"]["serviceAccountName"]
    for volume in template["spec"]["volumes"]:
        for source in _VOLUMES.keys() & volume.keys():
            kind, key = _VOLUMES[source]
            yield kind, volume[source][key]
    for container in containers(template):
        for variable in container.get("env", []):
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            if reference:
                yield "Secret", reference["name"]


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(below)
    for key, value in above.items():
        inner = found.get(key)
        both = isinstance(value, Mapping) and isinstance(inner, Mapping)
        found[key] = _merged(inner or {}, value) if both else value
    return found
