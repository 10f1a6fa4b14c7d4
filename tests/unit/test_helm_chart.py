"""The Helm chart: rendered by Helm, and strictly valid for Kubernetes."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
from cloudcoil.models.keda.v1alpha1 import ScaledObject
from cloudcoil.models.prometheus_operator.v1 import PodMonitor, PrometheusRule
from prometheus_client import REGISTRY
from tests.support.chart import CHART, containers, pod_specs, rendered, values_of
from tests.support.polling import until
from tests.support.role_settings import ROLES, read_settings

import sie_gateway.metrics  # noqa: F401
from sie_cli.plan.broker import authorization
from sie_cli.plan.ports import free_ports, is_free

FILES = ("", "values-local.yaml", "values-gke.yaml", "values-gliner.yaml")
EVERYTHING = {
    "hfToken": {"create": True, "value": "hf_1"},
    "auth": {"existingSecret": "tokens", "followersSecret": "followers"},
    "keda": {"enabled": True},
    "serviceMonitor": {"enabled": True, "tokenSecret": "prometheus-token"},
    "networkPolicy": {"enabled": True},
    "nats": {"replicas": 3},
    "traces": {"endpoint": "http://otel:4318"},
    "alerts": {"enabled": True},
    "dashboards": {"enabled": True},
    "gateway": {"env": {"SIE_GATEWAY_REQUEST_TIMEOUT_S": 30}},
}
CASES = [*((file, {}) for file in FILES), ("values-gke.yaml", EVERYTHING)]
NATS_SERVER = Path(sys.executable).parent / "nats-server"
CUSTOM: dict[str, Any] = {
    "ScaledObject": ScaledObject,
    "PodMonitor": PodMonitor,
    "PrometheusRule": PrometheusRule,
}


@pytest.fixture(
    scope="module",
    params=CASES,
    ids=lambda case: f"{case[0] or 'defaults'}{'+' if case[1] else ''}",
)
def documents(request):
    return rendered(values_of(*request.param))


def broker_files(documents: list[dict[str, Any]], folder: Path) -> dict[str, str]:
    """Write the broker's files as its pod has them; gives the environment of its container."""
    maps = [d for d in documents if d["kind"] == "ConfigMap"]
    (settings,) = [d for d in maps if "dashboard" not in d["metadata"]["name"]]
    for name, text in settings["data"].items():
        (folder / name).write_text(text)
    (template,) = [found for component, found in pod_specs(documents) if component == "nats"]
    environment: dict[str, str] = {}
    for variable in containers(template)[0]["env"]:
        value = variable.get("value", "p1")
        for name, before in environment.items():
            value = value.replace(f"$({name})", before)
        environment[variable["name"]] = value
    return environment | {"POD_NAME": "demo-nats-0"}


def unknown(given: object, taken: object, path: str = "") -> list[str]:
    """Keys that a model dropped: it ignores what it does not know."""
    if isinstance(given, dict) and isinstance(taken, dict):
        missing = [f"{path}.{key}" for key in given if key not in taken]
        return missing + [
            found
            for key, value in given.items()
            if key in taken
            for found in unknown(value, taken[key], f"{path}.{key}")
        ]
    if isinstance(given, list) and isinstance(taken, list):
        pairs = zip(given, taken, strict=True)
        return [found for one, other in pairs for found in unknown(one, other, path)]
    return []


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}{'+' if case[1] else ''}")
def test_helm_finds_nothing_wrong(case):
    found = helm_python.lint(str(CHART), values_of(*case), strict=True)
    assert found["errors"] == []


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_every_document_is_strictly_valid(documents, version):
    for document in documents:
        if document["kind"] not in CUSTOM:
            kubernetes_validate.validate(document, version, strict=True)


def test_custom_resources_are_what_their_operators_take(documents):
    for document in documents:
        model = CUSTOM.get(document["kind"])
        if model is not None:
            taken = model.model_validate(document)
            assert unknown(document, taken.model_dump(by_alias=True, exclude_unset=True)) == []


def test_there_is_one_writer_and_an_old_one_is_gone_before_a_new_one_starts(documents):
    (config,) = [
        d
        for d in documents
        if d["metadata"]["name"].endswith("-config") and "template" in d.get("spec", {})
    ]
    assert config["spec"]["replicas"] == 1
    assert config["spec"]["strategy"] == {"type": "Recreate"}


def test_the_log_lies_on_a_volume_that_outlives_its_pod(documents):
    (spec,) = [t["spec"] for role, t in pod_specs(documents) if role == "config"]
    (container,) = spec["containers"]
    (folder,) = [v["value"] for v in container["env"] if v["name"] == "SIE_CONFIG_DATA_DIR"]
    (volume,) = [
        mount["name"]
        for mount in container["volumeMounts"]
        if f"{folder}/".startswith(f"{mount['mountPath']}/")
    ]
    kinds = {each["name"]: {*each} - {"name"} for each in spec["volumes"]}
    assert kinds[volume] == {"persistentVolumeClaim"}


def test_every_service_and_policy_selects_pods_that_there_are(documents):
    labels = [template["metadata"]["labels"] for _, template in pod_specs(documents)]
    for document in documents:
        spec = document.get("spec", {})
        selector = spec.get("selector") if document["kind"] == "Service" else None
        if document["kind"] in ("PodDisruptionBudget", "Deployment", "StatefulSet"):
            selector = spec["selector"]["matchLabels"]
        if selector is not None:
            assert any(selector.items() <= found.items() for found in labels), document["metadata"]


def test_everything_that_a_pod_names_exists(documents):
    outside = {"tokens", "followers"}
    names = {(d["kind"], d["metadata"]["name"]) for d in documents}
    for _, template in pod_specs(documents):
        for kind, name in named(template):
            assert (kind, name) in names or name in outside


def named(template):
    """(kind, name) of every document that a pod needs."""
    for volume in template["spec"].get("volumes", []):
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
    for container in containers(template):
        for variable in container.get("env", []):
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            if reference:
                yield "Secret", reference["name"]


def test_every_process_reads_the_settings_that_it_is_given(documents):
    seen = set()
    for _, template in pod_specs(documents):
        for container in containers(template):
            role = container["name"]
            if role in ROLES:
                given = {v["name"]: v.get("value", "given") for v in container["env"]}
                settings = read_settings(role, given)
                assert settings.host == "0.0.0.0"
                assert container["ports"][0]["containerPort"] == settings.port
                seen.add(role)
    assert seen == set(ROLES)


def test_a_pod_has_no_more_rights_than_it_needs_and_no_service_links(documents):
    for role, template in pod_specs(documents):
        spec = template["spec"]
        assert spec["enableServiceLinks"] is False, role
        assert spec["securityContext"]["runAsNonRoot"] is True
        for container in containers(template):
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]
            assert {"livenessProbe", "readinessProbe", "startupProbe"} <= set(container)
            assert container["resources"]["requests"]
            ports = {port["name"] for port in container["ports"]}
            assert container["livenessProbe"]["httpGet"]["port"] in ports


def test_execution_outlives_its_worker_and_a_gateway_may_drain(documents):
    for role, template in pod_specs(documents):
        spec = template["spec"]
        if role == "worker":
            (server,) = spec["initContainers"]
            assert server["restartPolicy"] == "Always"
            shared = {m["mountPath"] for m in server["volumeMounts"]}
            assert {"/run/sie", "/var/cache/sie"} <= shared
        if role == "gateway":
            drain = next(
                v["value"] for v in spec["containers"][0]["env"] if v["name"].endswith("DRAIN_S")
            )
            pause = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
            assert spec["terminationGracePeriodSeconds"] > float(drain) + pause


def test_the_brokers_file_is_one_that_the_broker_takes(documents, tmp_path):
    environment = broker_files(documents, tmp_path)
    done = subprocess.run(
        [NATS_SERVER, "-c", tmp_path / "nats.conf", "-t"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_workers_of_each_pool_have_a_user_that_reads_that_pool_alone(tmp_path):
    usual = values_of("values.yaml")["workers"]["cpu"]
    documents = rendered(values_of("", {"workers": {"night": usual | {"pool": "night-shift"}}}))
    environment = broker_files(documents, tmp_path)
    users = (tmp_path / "users.conf").read_text().splitlines()
    (own,) = [line for line in users if 'user: "worker-night-shift"' in line]
    for subject in (
        "$JS.API.CONSUMER.MSG.NEXT.WORK_POOL_night-shift.*",
        "$O.sie_jobs.C.night-shift.>",
        "_INBOX.worker-night-shift.>",
        "sie.answer.worker.worker-night-shift.>",
    ):
        assert subject in own
    assert "default" not in own
    assert "SIE_NATS_PASSWORD_WORKER_NIGHT_SHIFT" in environment
    done = subprocess.run(
        [NATS_SERVER, "-c", tmp_path / "nats.conf", "-t"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    names = [
        variable
        for component, template in pod_specs(documents)
        if component == "worker"
        for container in containers(template)
        for variable in container["env"]
        if variable["name"].startswith("SIE_WORKER_NATS_")
    ]
    assert {"name": "SIE_WORKER_NATS_USER", "value": "worker-night-shift"} in names


async def test_a_broker_that_does_not_know_the_password_does_not_join(tmp_path):
    documents = rendered(values_of("", {"nats": {"replicas": 3}}))
    environment = broker_files(documents, tmp_path)
    client, routes, monitor = free_ports(3)
    text = (tmp_path / "nats.conf").read_text()
    changed = {"4222": client, "6222": routes, "8222": monitor, "/data": tmp_path / "data"}
    for before, after in changed.items():
        text = text.replace(f": {before}\n", f": {after}\n")
    (tmp_path / "nats.conf").write_text(text)
    own = f"127.0.0.1:{routes}"
    assert (
        "nats://config:p1@demo-sie-cluster-nats-2.demo-sie-cluster-nats-peers:6222"
        in (environment["SIE_NATS_ROUTES"])
    )
    environment["SIE_NATS_ROUTES"] = f'["nats://config:p1@{own}"]'
    broker = await asyncio.create_subprocess_exec(
        NATS_SERVER, "-c", tmp_path / "nats.conf", env=environment, stderr=asyncio.subprocess.PIPE
    )
    try:
        await until(lambda: not is_free(routes), within_s=20)
        reader, writer = await asyncio.open_connection("127.0.0.1", routes)
        await reader.readline()
        writer.write(b'CONNECT {"verbose":false,"name":"stranger","cluster":"x"}\r\nPING\r\n')
        heard = await asyncio.wait_for(reader.read(), 10)
        writer.close()
    finally:
        broker.kill()
        await broker.communicate()
    assert b"Authorization Violation" in heard


def test_the_brokers_users_may_do_what_they_may_do_on_one_machine():
    written = (CHART / "files/users.conf").read_text()
    assert written.endswith(authorization(lambda role: f"$SIE_NATS_PASSWORD_{role.upper()}"))


def test_streams_have_as_many_copies_as_there_are_brokers():
    for replicas in (1, 3):
        documents = rendered(values_of("", {"nats": {"replicas": replicas}}))
        copies = {
            variable["name"]: variable["value"]
            for _, template in pod_specs(documents)
            for container in template["spec"]["containers"]
            for variable in container.get("env", ())
            if variable["name"].endswith("_NATS_REPLICAS")
        }
        roles = ("CONFIG", "GATEWAY", "WORKER")
        assert copies == {f"SIE_{role}_NATS_REPLICAS": str(replicas) for role in roles}


def test_demand_is_asked_for_by_metrics_that_the_gateway_has():
    exported = {sample.name for family in REGISTRY.collect() for sample in family.samples}
    exported |= {
        f"{family.name}_total" for family in REGISTRY.collect() if family.type == "counter"
    }
    exported |= {family.name for family in REGISTRY.collect()}
    documents = rendered(values_of("values-gke.yaml"))
    queries = [
        trigger["metadata"]["query"]
        for document in documents
        if document["kind"] == "ScaledObject"
        for trigger in document["spec"]["triggers"]
    ]
    names = {name for query in queries for name in re.findall(r"sie_\w+", query)}
    assert len(names) == 4
    assert names <= exported
    assert any('machine_profile="l4"' in query for query in queries)
    ours = 'namespace="sie",release="demo",'
    assert f'max(sie_gateway_pool_warm_workers{{{ours}pool="default"}}) or vector(0)' in queries
    assert [query for query in queries if ours not in query] == [], "of this release alone"


def test_a_token_of_the_hub_reaches_model_execution_alone():
    documents = rendered(values_of("", {"hfToken": {"create": True, "value": "hf_1"}}))
    (secret,) = [d for d in documents if d["metadata"]["name"].endswith("-hf-token")]
    assert secret["stringData"] == {"token": "hf_1"}
    users = [
        container["name"]
        for _, template in pod_specs(documents)
        for container in containers(template)
        if any(v["name"] == "HF_TOKEN" for v in container["env"])
    ]
    assert users == ["server"]
    plain = rendered(values_of(""))
    assert not [d for d in plain if d["metadata"]["name"].endswith("-hf-token")]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"gatway": {"replicas": 2}}, "gatway"),
        ({"nats": {"replicas": 2}}, "replicas"),
        ({"gateway": {"replicas": 0}}, "replicas"),
        ({"workers": {"cpu": {"device": "tpu"}}}, "device"),
        ({"hfToken": {"create": True}}, "hfToken.value is wanted"),
        ({"nats": {"enabled": False}}, "nats.url is wanted"),
    ],
)
def test_values_that_cannot_work_are_refused_by_name(more, said):
    with pytest.raises(helm_python.HelmError, match=said):
        rendered(values_of("", more))


def test_a_broker_of_ones_own_is_spoken_to_and_none_is_made():
    documents = rendered(
        values_of("", {"nats": {"enabled": False, "url": "nats://elsewhere:4222"}})
    )
    assert not [d for d in documents if d["kind"] in ("StatefulSet", "ConfigMap")]
    for _, template in pod_specs(documents):
        for container in containers(template):
            urls = [v["value"] for v in container["env"] if v["name"].endswith("_NATS_URL")]
            assert urls == ([] if container["name"] == "server" else ["nats://elsewhere:4222"])


def test_a_closed_cluster_wants_tokens_for_its_followers():
    with pytest.raises(Exception, match=r"auth\.followersSecret is wanted"):
        rendered(values_of("", {"auth": {"existingSecret": "tokens"}}))
