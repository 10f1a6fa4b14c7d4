"""Kubernetes' own schemas, strict, and those of custom resources: what is wrong with a document."""

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Final

import jsonschema_rs
from cloudcoil.models.keda.v1alpha1 import ScaledObject
from cloudcoil.models.prometheus_operator.v1 import PodMonitor, PrometheusRule

__all__ = ["VERSIONS", "faults"]

VERSIONS: Final = ("1.30", "1.31", "1.32", "1.33", "1.34")
"""Every release that the chart is for."""
_MODELS: Final[Mapping[str, Any]] = {
    "ScaledObject": ScaledObject,
    "PodMonitor": PodMonitor,
    "PrometheusRule": PrometheusRule,
}


def _closed(required: tuple[str, ...], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": properties,
    }


_NAME: Final = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", "maxLength": 253}
_PORT: Final = {"type": "integer", "minimum": 1, "maximum": 65535}
_HOSTS: Final = {
    "type": "string",
    "maxLength": 253,
    "pattern": r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
}
_PARENT: Final = _closed(("name",), name=_NAME, namespace=_NAME, sectionName=_NAME, port=_PORT)
_LISTENER: Final = _closed(
    ("name", "port", "protocol"),
    name=_NAME,
    hostname=_HOSTS,
    port=_PORT,
    protocol={"enum": ["HTTP", "HTTPS", "TLS", "TCP", "UDP"]},
    tls=_closed(
        ("certificateRefs",),
        mode={"enum": ["Terminate", "Passthrough"]},
        certificateRefs={"type": "array", "items": _closed(("name",), name=_NAME), "maxItems": 64},
    ),
    allowedRoutes=_closed((), namespaces=_closed((), **{"from": {"enum": ["Same", "All"]}})),
)
_RULE: Final = _closed(
    ("backendRefs",),
    matches={
        "type": "array",
        "items": _closed(
            ("path",),
            path=_closed(
                ("type", "value"),
                type={"enum": ["Exact", "PathPrefix"]},
                value={"type": "string", "pattern": "^/", "maxLength": 1024},
            ),
        ),
    },
    backendRefs={"type": "array", "items": _closed(("name", "port"), name=_NAME, port=_PORT)},
)
_GATEWAY_API: Final = {
    "Gateway": _closed(
        ("gatewayClassName", "listeners"),
        gatewayClassName=_NAME,
        listeners={"type": "array", "items": _LISTENER, "minItems": 1, "maxItems": 64},
    ),
    "HTTPRoute": _closed(
        ("parentRefs", "rules"),
        parentRefs={"type": "array", "items": _PARENT, "maxItems": 32},
        hostnames={"type": "array", "items": _HOSTS, "maxItems": 16},
        rules={"type": "array", "items": _RULE, "maxItems": 16},
    ),
}
"""The part of gateway.networking.k8s.io/v1 that the chart uses, as its definitions bound it."""


def faults(document: dict[str, Any], version: str) -> list[str]:
    """The faults that a release of Kubernetes, or the operator of a custom resource, would find."""
    kind = document["kind"]
    if kind in _MODELS:
        taken = _MODELS[kind].model_validate(document)
        return _dropped(document, taken.model_dump(by_alias=True, exclude_unset=True))
    if kind in _GATEWAY_API:
        assert document["apiVersion"] == "gateway.networking.k8s.io/v1"
        validator = _compiled(kind)
        return [str(error) for error in validator.iter_errors(document["spec"])]
    validator = _built_in(version, kind, document["apiVersion"])
    return [str(error) for error in validator.iter_errors(document)]


@cache
def _compiled(kind: str) -> Any:
    return jsonschema_rs.validator_for(_GATEWAY_API[kind])


@cache
def _built_in(version: str, kind: str, api_version: str) -> Any:
    group, _, release = api_version.rpartition("/")
    name = "-".join(filter(None, (kind.lower(), group.partition(".")[0], release)))
    return jsonschema_rs.validator_for(
        _contents(version, f"{name}.json"), registry=_definitions(version)
    )


@cache
def _definitions(version: str) -> Any:
    found = _contents(version, "_definitions.json")
    return jsonschema_rs.Registry([(found["$id"], found)])


def _contents(version: str, name: str) -> Any:
    folder = resources.files("kubernetes_validate") / "kubernetes-json-schema"
    return json.loads((folder / f"v{version}.0-local-strict" / name).read_text())


def _dropped(given: object, taken: object, path: str = "") -> list[str]:
    """Keys that a model dropped: it ignores what it does not know."""
    if isinstance(given, dict) and isinstance(taken, dict):
        missing = [f"{path}.{key}" for key in given if key not in taken]
        return missing + [
            found
            for key, value in given.items()
            if key in taken
            for found in _dropped(value, taken[key], f"{path}.{key}")
        ]
    if isinstance(given, list) and isinstance(taken, list):
        pairs = zip(given, taken, strict=True)
        return [found for one, other in pairs for found in _dropped(one, other, path)]
    return []
