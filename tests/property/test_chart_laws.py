"""The laws of every release of the chart, whatever its values: they are drawn from the schema."""

from collections.abc import Mapping
from typing import Any

import helm_python
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.support.chart import CHART, containers, named, pod_specs, rendered, values_of
from tests.support.chart_page import schema
from tests.support.kubernetes import VERSIONS, faults
from tests.support.role_settings import ROLES, read_settings

FILES = ("", *sorted(path.name for path in CHART.glob("values-*.yaml")))
NAMED_BY_VALUES = {"mine", "place"}
ELSEWHERE = {"HF_HOME", "HF_TOKEN", "HF_HUB_OFFLINE", "TZ", "PLACE", "POD_NAME", "HOME"}
SIMPLE = {
    "boolean": lambda node: st.booleans(),
    "integer": lambda node: st.integers(node["minimum"], node.get("maximum", node["minimum"] + 20)),
    "number": lambda node: st.floats(node["minimum"], node["maximum"]),
}


def drawn(node: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Any value that a part of the schema takes: strings and free objects are its examples."""
    if "$ref" in node:
        return drawn(schema()["$defs"][node["$ref"].rpartition("/")[2]])
    if "enum" in node or "examples" in node:
        return st.sampled_from(node.get("enum") or node["examples"])
    if node["type"] in SIMPLE:
        return SIMPLE[node["type"]](node)
    match node["type"]:
        case "array":
            return st.lists(drawn(node["items"]), max_size=2)
        case "object" if "properties" in node:
            return _object(node)
        case "object" if node.get("additionalProperties"):
            kinds = st.sampled_from(["l4", "night", "a-b"])
            return st.dictionaries(kinds, drawn(node["additionalProperties"]), min_size=1)
    return st.just({})


def _object(node: Mapping[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object whose parts are named; where some are required the others may be absent."""
    parts = {name: drawn(each) for name, each in node["properties"].items()}
    optional = [name for name in parts if name not in node.get("required", parts)]
    left = {name: parts.pop(name) for name in optional}
    return st.fixed_dictionaries(parts, optional=left)


def agreeing(values: dict[str, Any]) -> dict[str, Any]:
    """The same where values that are good alone and refused together are brought to agree."""
    scaling = values.setdefault("gateway", {}).setdefault("autoscaling", {})
    scaling["max"] = max(scaling.get("min", 2), scaling.get("max", 10))
    for worker in values.get("workers", {}).values():
        scaling = worker.setdefault("scaling", {})
        scaling["max"] = max(scaling.get("min", 0), scaling.get("max", 4))
        if worker["bundle"] == "gliner":
            worker["server"]["image"] = "server-gliner"
    for number, worker in enumerate(values.get("workers", {}).values()):
        # Neither one kind twice, nor the chart's own, which is there beside these.
        worker["pool"] = f"{worker['pool']}-{number}"
    if values["gateway"]["autoscaling"].get("enabled"):
        values["gateway"]["resources"] = {"requests": {"cpu": "1"}}
    nats = values.setdefault("nats", {})
    nats["url"] = "" if nats.get("enabled", True) else "nats://broker.example.com:4222"
    tls = values.setdefault("tls", {})
    tls.update(secrets=dict.fromkeys(("config", "gateway", "worker", "nats"), "mine"))
    tls.update(monitoringSecret="mine", mutual=tls["enabled"] and tls["mutual"])
    hub = values.setdefault("hfToken", {})
    hub["value"] = "hf_1" if hub.get("create") else ""
    hub["existingSecret"] = "" if hub.get("create") else hub.get("existingSecret", "")
    values.setdefault("auth", {}).update(existingSecret="mine", followersSecret="mine")
    values.setdefault("serviceMonitor", {})["tokenSecret"] = "mine"
    policy = values.setdefault("networkPolicy", {})
    policy["operators"] = [{"namespaceSelector": {}}]
    if not policy.get("hub", True):
        values["hubTokens"] = {}
    outside = values.setdefault("expose", {})
    ways = [outside.setdefault(way, {}) for way in ("ingress", "gatewayApi")]
    used = any(way.get("enabled") for way in ways)
    outside["host"] = "sie.example.com" if used else ""
    outside["configHost"] = outside.get("configHost", "") if used else ""
    outside["tlsSecret"] = "mine"
    outside["gatewayApi"]["className"] = "outer"
    values.setdefault("image", {})["byTag"] = True
    # What every pod has and what a role has besides are two.
    everywhere = values.setdefault("pods", {})
    for each in everywhere.get("extraVolumes", ()):
        everywhere["extraVolumes"] = [each | {"name": "everywhere"}]
    for each in everywhere.get("extraVolumeMounts", ()):
        everywhere["extraVolumeMounts"] = [each | {"mountPath": "/everywhere"}]
    return values


def hold(documents: list[dict[str, Any]]) -> None:
    """Every law, for the documents of one release."""
    for document in documents:
        for version in VERSIONS:
            assert faults(document, version) == [], (document["kind"], document["metadata"])
    templates = [*pod_specs(documents)]
    assert len({(d["kind"], d["metadata"]["name"]) for d in documents}) == len(documents)
    for role, template in templates:
        restricted(role, template)
        for container in containers(template):
            variables_are_read(container)
    selected(documents, [template for _, template in templates])
    exist(documents, [template for _, template in templates])


def restricted(role: str, template: Mapping[str, Any]) -> None:
    """The Pod Security Standard `restricted`, and no token of the API."""
    spec = template["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["terminationGracePeriodSeconds"] > 0
    for volume in spec["volumes"]:
        assert {*volume} - {"name"} <= {
            "emptyDir",
            "secret",
            "configMap",
            "persistentVolumeClaim",
            "hostPath",
        }
    volumes = [volume["name"] for volume in spec["volumes"]]
    assert len(volumes) == len(set(volumes)), role
    mounted = {*volumes, "data"}
    for container in containers(template):
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"]
        paths = [mount["mountPath"] for mount in container["volumeMounts"]]
        assert len(paths) == len(set(paths)), role
        assert {mount["name"] for mount in container["volumeMounts"]} <= mounted
        # What tells the broker of new certificates serves nobody.
        if role not in ("backup", "test") and container["name"] != "reload":
            assert {"livenessProbe", "readinessProbe", "startupProbe"} <= set(container)


def variables_are_read(container: Mapping[str, Any]) -> None:
    """A process is given what it reads, once; a name of another's prefix is a mistake."""
    names = [each["name"] for each in container.get("env", ())]
    assert len(names) == len(set(names))
    role = container["name"]
    if role in ROLES:
        given = {v["name"]: v.get("value", "given") for v in container["env"]}
        settings_ = read_settings(role, given)
        assert settings_.host == "0.0.0.0"
        assert container["ports"][0]["containerPort"] == settings_.port
        rest = [name for name in names if not name.startswith(f"SIE_{role.upper()}_")]
        if role == "server":
            rest = [name for name in rest if not name.startswith("SIE_SECRET_")]
        assert {n for n in rest if not n.startswith("OTEL_")} <= ELSEWHERE


def selected(documents: list[dict[str, Any]], templates: list[Mapping[str, Any]]) -> None:
    """Each selector finds pods, and every pod has its one policy where there are any."""
    labels = [template["metadata"]["labels"] for template in templates]
    policies = [d["spec"]["podSelector"] for d in documents if d["kind"] == "NetworkPolicy"]
    for found in labels:
        mine = [p for p in policies if p["matchLabels"].items() <= found.items()]
        assert len(mine) == bool(policies), found
    doors_lead_to_ports(documents, templates)
    targets = {d["metadata"]["name"] for d in documents if d["kind"] == "Deployment"}
    for document in documents:
        spec = document.get("spec", {})
        selector = spec.get("selector") if document["kind"] == "Service" else None
        if document["kind"] in ("PodDisruptionBudget", "Deployment", "StatefulSet"):
            selector = spec["selector"]["matchLabels"]
        if selector is not None:
            assert any(selector.items() <= found.items() for found in labels), document["metadata"]
        if "scaleTargetRef" in spec:
            assert spec["scaleTargetRef"]["name"] in targets


def doors_lead_to_ports(
    documents: list[dict[str, Any]], templates: list[Mapping[str, Any]]
) -> None:
    """A policy opens every port of its pods, by number, and no other; a broker's monitor stays."""
    for policy in (d["spec"] for d in documents if d["kind"] == "NetworkPolicy"):
        chosen = policy["podSelector"]["matchLabels"].items()
        opened = {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
        there = {
            port["containerPort"]
            for template in templates
            if chosen <= template["metadata"]["labels"].items()
            for container in containers(template)
            for port in container.get("ports", ())
        }
        assert opened == there - {8222}, chosen


def exist(documents: list[dict[str, Any]], templates: list[Mapping[str, Any]]) -> None:
    """Everything that a pod names is made here, or was named by the values."""
    names = {(d["kind"], d["metadata"]["name"]) for d in documents}
    for template in templates:
        for kind, name in named(template):
            assert (kind, name) in names or name in NAMED_BY_VALUES, (kind, name)


@pytest.mark.parametrize("file", FILES)
def test_every_values_file_keeps_every_law(file):
    hold(rendered(values_of(file)))
    found = helm_python.lint(str(CHART), values_of(file), strict=True)
    assert found["errors"] == []


@pytest.mark.parametrize("file", [file for file in FILES if file])
def test_a_file_above_another_keeps_every_law(file):
    hold(rendered(values_of(file, values_of("values-ha.yaml"))))


# Rendered forty times, and not minutes long made smaller.
@settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(drawn(schema()).map(agreeing))
def test_any_values_that_are_taken_keep_every_law(values):
    hold(rendered(values))
