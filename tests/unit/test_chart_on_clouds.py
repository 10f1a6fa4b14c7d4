"""The chart where clusters differ: nodes, balancers, autoscalers, operators, and older releases."""

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any, Final

import helm_python
import pytest
from tests.support.chart import CHART, containers, pod_specs, rendered, values_of
from tests.support.chart_upgrade import lasting

from sie_runtime.streams.provisions import ProvisionSettings

GI: Final = 1024**3
CLOUDS: Final = ("values-aks.yaml", "values-eks.yaml", "values-gke.yaml")
OLDER: Final = json.loads(
    (Path(__file__).parents[1] / "data/chart-0.2.0.json").read_text(encoding="utf-8")
)
# The smallest node that each file names: cores and bytes that are left for pods, by the cloud's own
# formula, less what its agents on each node ask for (two tenths of a core, half a GiB).
NODES: Final = {
    # g2-standard-4: 4 cores, 16 GiB.
    "values-gke.yaml": (3.92 - 0.2, 13.3 * GI - 0.5 * GI),
    # g6.xlarge: 4 cores, 16 GiB.
    "values-eks.yaml": (3.92 - 0.2, 14.2 * GI - 0.5 * GI),
    # Standard_NV12ads_A10_v5: 12 cores, 110 GiB.
    "values-aks.yaml": (11.8 - 0.2, 100 * GI - 0.5 * GI),
}


def cores(told: Any) -> float:
    """Cores of a quantity."""
    text = str(told)
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def size(told: str) -> float:
    """Bytes of a quantity in MiB or GiB."""
    found = re.fullmatch(r"(\d+)(Mi|Gi)", told)
    assert found is not None, told
    return int(found[1]) * (GI if found[2] == "Gi" else 1024**2)


def of_role(documents: list[dict[str, Any]], role: str) -> dict[str, Any]:
    """The first pod template of a role."""
    return next(template for found, template in pod_specs(documents) if found == role)


@pytest.mark.parametrize("file", sorted(NODES))
def test_a_worker_with_a_gpu_fits_the_smallest_node_that_the_file_names(file):
    cores_left, bytes_left = NODES[file]
    for role, template in pod_specs(rendered(values_of(file))):
        parts = [each["resources"] for each in containers(template)]
        if role != "worker" or not any("nvidia.com/gpu" in each["requests"] for each in parts):
            continue
        assert sum(cores(each["requests"]["cpu"]) for each in parts) <= cores_left
        assert sum(size(each["requests"]["memory"]) for each in parts) <= bytes_left
        # Above what the node has, the node kills, and not always this container.
        assert max(size(each["limits"]["memory"]) for each in parts) <= bytes_left + 0.5 * GI


def test_azures_balancer_asks_for_a_page_that_is_there():
    documents = rendered(values_of("values-aks.yaml"))
    (service,) = [
        d for d in documents if d["kind"] == "Service" and d["spec"].get("type") == "LoadBalancer"
    ]
    # A Service that says its protocol is asked for `/`, which is 404 at a gateway, unless told.
    assert service["spec"]["ports"][0]["appProtocol"] in {"http", "https"}
    asked = service["metadata"]["annotations"][
        "service.beta.kubernetes.io/azure-load-balancer-health-probe-request-path"
    ]
    probe = of_role(documents, "gateway")["spec"]["containers"][0]["readinessProbe"]["httpGet"]
    assert asked == probe["path"]


@pytest.mark.parametrize("leave", [1, 30])
def test_a_gateway_listens_until_balancers_know_and_then_drains(leave):
    values = values_of("", {"gateway": {"leaveSeconds": leave, "drainSeconds": 60}})
    spec = of_role(rendered(values), "gateway")["spec"]
    assert spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] == leave
    assert spec["terminationGracePeriodSeconds"] == leave + 60 + 10


@pytest.mark.parametrize("file", CLOUDS)
def test_demand_is_asked_of_the_prometheus_that_reads_the_pod_monitors(file):
    documents = rendered(values_of(file))
    assert [d for d in documents if d["kind"] == "PodMonitor"]
    asked = {
        trigger["metadata"]["serverAddress"]
        for d in documents
        if d["kind"] == "ScaledObject"
        for trigger in d["spec"]["triggers"]
    }
    # The operator makes this Service for its Prometheus, whatever its release is called.
    assert asked == {"http://prometheus-operated.monitoring.svc:9090"}


def test_the_writer_reaches_the_hub_where_workers_do():
    ports = {}
    for hub in (True, False):
        documents = rendered(values_of("", {"networkPolicy": {"hub": hub}}))
        for d in documents:
            if d["kind"] == "NetworkPolicy":
                rules = [each for rule in d["spec"]["egress"] for each in rule.get("ports", ())]
                role = d["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
                ports[hub, role] = 443 in {each["port"] for each in rules}
        given = of_role(documents, "config")["spec"]["containers"][0]["env"]
        assert ({"name": "HF_HUB_OFFLINE", "value": "1"} in given) == (not hub)
    assert {role for (hub, role), open_ in ports.items() if hub and open_} == {"config", "worker"}
    assert not [role for (hub, role), open_ in ports.items() if not hub and open_]


def test_a_renewed_token_of_the_hub_starts_the_workers_that_read_it_anew():
    sums = []
    for value in ("hf_1", "hf_2"):
        documents = rendered(values_of("", {"hfToken": {"create": True, "value": value}}))
        sums.append(
            {
                role: template["metadata"]["annotations"].get("checksum/hf-token")
                for role, template in pod_specs(documents)
            }
        )
    assert {role for role in sums[0] if sums[0][role] != sums[1][role]} == {"worker"}
    assert "hf_1" not in str(sums[0])


@pytest.mark.parametrize("replicas", [1, 3])
def test_settings_of_the_broker_that_change_start_it_anew(replicas):
    def told(**more: Any) -> str:
        template = of_role(
            rendered(values_of("", {"nats": {"replicas": replicas}, **more})), "nats"
        )
        found: str = template["metadata"]["annotations"]["checksum/settings"]
        return found

    secrets = dict.fromkeys(("config", "gateway", "worker", "nats"), "mine")
    tls = {"enabled": True, "secrets": secrets}
    assert len({told(), told(tls=tls), told(tls=tls | {"mutual": True})}) == 3


@pytest.mark.parametrize(
    ("size", "bytes_there", "replicas"),
    [("10Gi", 10 * GI, 1), ("1.5Ti", 1536 * GI, 3), ("5000M", 5 * 10**9, 1)],
)
def test_the_brokers_refuse_before_their_disks_are_full_and_somebody_is_told(
    size, bytes_there, replicas
):
    more = {"nats": {"replicas": replicas, "persistence": {"size": size}}}
    documents = rendered(values_of("", more))
    (settings,) = [each["data"]["nats.conf"] for each in documents if each["kind"] == "ConfigMap"]
    (told,) = re.findall(r"max_file_store: (\d+)\n", settings)
    assert int(told) == int(bytes_there * 0.9)
    # Each of several brokers has a copy of everything, and the figure is of all of them.
    assert bound_told(documents) == str(int(told) * replicas)
    elsewhere = {"nats": {"enabled": False, "url": "nats://mine:4222"}}
    assert bound_told(rendered(values_of("", elsewhere))) is None, "its account may have one"


def bound_told(documents: list[dict[str, Any]]) -> str | None:
    """The bytes that sie-config is told: SieJetStreamFills, doctor and console judge by them."""
    (container,) = of_role(documents, "config")["spec"]["containers"]
    by_name = {each["name"]: each.get("value") for each in container["env"]}
    found: str | None = by_name.get("SIE_CONFIG_JETSTREAM_BYTES_MAX")
    return found


def brokers(size: str, **env: Any) -> list[dict[str, Any]]:
    """A release with a claim of that size for each broker, and variables of sie-config."""
    more = {"nats": {"persistence": {"size": size}}, "config": {"env": env}}
    return rendered(values_of("", more))


@pytest.mark.parametrize("size", ["1Gi", "2Gi", "2559Mi"])
def test_a_claim_that_cannot_hold_what_its_broker_sets_apart_is_refused_with_a_size_that_can(size):
    with pytest.raises(helm_python.HelmError, match=r"persistence.size \(.*Give it 2560Mi") as told:
        brokers(size)
    assert size in str(told.value)
    assert brokers("2560Mi")
    # Where large jobs may be less, so may the claim: the other way that the refusal names.
    documents = brokers("2Gi", SIE_CONFIG_PAYLOAD_STORE_BYTES_MAX=2**28)
    given = of_role(documents, "config")["spec"]["containers"][0]["env"]
    # Helm's own form of such a number is 2.68435456e+08, which sie-config does not take.
    assert {"name": "SIE_CONFIG_PAYLOAD_STORE_BYTES_MAX", "value": "268435456"} in given


def test_the_chart_and_sie_config_mean_the_same_bytes_that_a_broker_sets_apart():
    own = ProvisionSettings()
    room = 256 * 1024**2
    least = own.payload_store_bytes_max + own.dead_letters_bytes_max + room
    assert brokers(str(math.ceil(least / 0.9)))
    with pytest.raises(helm_python.HelmError, match=r"nats.persistence.size"):
        brokers(str(math.floor(least / 0.9) - 1))


@pytest.mark.parametrize(
    ("there", "wanted", "refused"), [(1, 3, True), (3, 1, True), (3, 3, False), (0, 3, False)]
)
def test_brokers_that_would_lose_their_store_are_refused_with_the_way_there(
    tmp_path, there, wanted, refused
):
    copy = tmp_path / "chart"
    shutil.copytree(CHART, copy)
    checks = copy / "templates/_checks.tpl"
    asks = 'lookup "apps/v1" "StatefulSet" $.Release.Namespace $name'
    text = checks.read_text()
    assert asks in text, "what a cluster would answer is written in its place"
    found = f'(dict "spec" (dict "replicas" {there}))' if there else "dict"
    checks.write_text(text.replace(asks, found))
    changed = helm_python.Chart.load(str(copy))
    values = values_of("", {"nats": {"replicas": wanted}})
    if refused:
        with pytest.raises(helm_python.HelmRenderError, match=r"delete statefulset demo-.*nats"):
            changed.render(values, name="demo", namespace="sie")
    else:
        assert changed.render(values, name="demo", namespace="sie")


@pytest.mark.parametrize("file", ["", *CLOUDS])
def test_no_volume_that_goes_with_its_pod_keeps_a_node_from_leaving(file):
    for role, template in pod_specs(rendered(values_of(file))):
        told = template["metadata"]["annotations"][
            "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
        ]
        there = {
            volume["name"]
            for volume in template["spec"]["volumes"]
            if {"emptyDir", "hostPath"} & volume.keys()
        }
        assert set(told.split(",")) == there, role


def test_more_gpus_than_a_worker_uses_are_refused():
    kind = {
        "pool": "default",
        "machineProfile": "l4",
        "bundle": "default",
        "device": "cuda",
        "server": {"resources": {"requests": {"cpu": 1}, "limits": {"nvidia.com/gpu": 2}}},
    }
    with pytest.raises(helm_python.HelmError, match="more workers, not more of them"):
        rendered(values_of("", {"workers": {"l4": kind}}))


@pytest.mark.parametrize("file", sorted(OLDER))
def test_an_upgrade_from_the_release_before_changes_nothing_that_is_for_ever(file):
    now = lasting(rendered(values_of("" if file == "values.yaml" else file)))
    assert {name: now.get(name) for name in OLDER[file]} == OLDER[file]
    kinds = {name.partition("/")[0] for name in OLDER[file]}
    assert kinds == {"StatefulSet", "PersistentVolumeClaim", "Deployment", "Service"}


def test_a_field_that_is_for_ever_is_seen_to_change():
    documents = rendered(values_of("", {"nats": {"persistence": {"size": "20Gi"}}}))
    name = "StatefulSet/demo-sie-cluster-nats"
    assert lasting(documents)[name] != OLDER["values.yaml"][name]
