"""The chart, rendered by Helm: what single values do. Its laws are property/test_chart_laws."""

import asyncio
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml
from prometheus_client import REGISTRY
from tests.support.certificates import Authority
from tests.support.chart import CHART, chart, containers, pod_specs, rendered, values_of
from tests.support.chart_page import leaves, schema, written
from tests.support.polling import until

import sie_gateway.metrics  # noqa: F401
from sie_cli.plan.broker import authorization
from sie_cli.plan.ports import free_ports, is_free
from sie_runtime.access.web_pages import hosts_of

FILES = ("", *sorted(path.name for path in CHART.glob("values-*.yaml")))
NATS_SERVER = Path(sys.executable).parent / "nats-server"


@pytest.fixture(scope="module", params=FILES, ids=lambda file: file or "defaults")
def documents(request):
    return rendered(values_of(request.param))


def broker_files(documents: list[dict[str, Any]], folder: Path) -> dict[str, str]:
    """Write the broker's files as its pod has them; gives the environment of its container."""
    maps = [d for d in documents if d["kind"] == "ConfigMap"]
    (settings,) = [d for d in maps if "dashboard" not in d["metadata"]["name"]]
    for name, text in settings["data"].items():
        (folder / name).write_text(text)
    (template,) = [found for component, found in pod_specs(documents) if component == "nats"]
    environment: dict[str, str] = {}
    (broker,) = [each for each in containers(template) if each["name"] == "nats"]
    for variable in broker["env"]:
        value = variable.get("value", "p1")
        for name, before in environment.items():
            value = value.replace(f"$({name})", before)
        environment[variable["name"]] = value
    return environment | {"POD_NAME": "demo-nats-0"}


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


def test_with_tls_everybody_speaks_it_and_the_broker_takes_its_file(tmp_path):
    signed = Authority(tmp_path).signed("broker")
    secrets = dict.fromkeys(("config", "gateway", "worker", "nats"), "certificates")
    tls = {"tls": {"enabled": True, "mutual": True, "secrets": secrets}, "nats": {"replicas": 3}}
    documents = rendered(values_of("", tls))
    environment = broker_files(documents, tmp_path)
    file = tmp_path / "nats.conf"
    paths = {"tls.crt": signed.cert, "tls.key": signed.key, "ca.crt": tmp_path / "ca.pem"}
    text = file.read_text()
    for name, path in paths.items():
        text = text.replace(f"/etc/sie/tls/{name}", str(path))
    assert text.count("verify: true") == 2, "clients and routes"
    file.write_text(text)
    command = [NATS_SERVER, "-c", file, "-t"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    plain = [
        (variable["name"], variable["value"])
        for _, template in pod_specs(documents)
        for container in containers(template)
        for variable in container.get("env", ())
        if re.match("(http|nats)://", variable.get("value", ""))
    ]
    assert plain == []
    schemes = {
        container[probe]["httpGet"]["scheme"]
        for role, template in pod_specs(documents)
        if role not in ("nats", "test")
        for container in containers(template)
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert schemes == {"HTTPS"}


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
    changed["/run/nats/nats.pid"] = tmp_path / "nats.pid"
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
        await until(lambda: not is_free(routes))
        reader, writer = await asyncio.open_connection("127.0.0.1", routes)
        await reader.readline()
        writer.write(b'CONNECT {"verbose":false,"name":"stranger","cluster":"x"}\r\nPING\r\n')
        heard = await asyncio.wait_for(reader.read(), 60)
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


def test_tokens_of_sources_are_files_of_model_execution_alone():
    tokens = {"legal-de": {"secret": "mine"}, "x": {"secret": "mine", "key": "hub"}}
    for role, template in pod_specs(rendered(values_of("", {"hubTokens": tokens}))):
        for container in containers(template):
            given = {v["name"]: v.get("value") for v in container["env"]}
            files = {name: path for name, path in given.items() if name.startswith("SIE_SECRET_")}
            mounts = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
            if (role, container["name"]) != ("worker", "server"):
                assert not files
                assert not [path for path in mounts if "hub-tokens" in path]
                continue
            assert set(files) == {"SIE_SECRET_LEGAL_DE_FILE", "SIE_SECRET_X_FILE"}
            volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
            for name, key in (("legal-de", "token"), ("x", "hub")):
                secret = volumes[mounts[f"/etc/sie/hub-tokens/{name}"]]["secret"]
                assert secret["items"] == [{"key": key, "path": "token"}]


def test_helm_test_is_there_where_it_may_ask():
    auth = {"existingSecret": "mine", "followersSecret": "mine"}
    roles = [role for role, _ in pod_specs(rendered(values_of("", {"auth": auth})))]
    assert "test" not in roles
    may = rendered(values_of("", {"auth": auth | {"testSecret": "mine"}}))
    assert "test" in [role for role, _ in pod_specs(may)]


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


PEER: list[dict[str, Any]] = [{"namespaceSelector": {}}]
TLS = {"host": "a.example.com", "tlsSecret": "mine", "ingress": {"enabled": True}}
NO_CPU = {"requests": {"cpu": None}}
ABOVE = {"requests": {"cpu": 1}, "limits": {"cpu": "500m"}}
KIND = {
    "pool": "default",
    "machineProfile": "l4",
    "bundle": "default",
    "device": "cuda",
    "server": {"resources": {"requests": {"cpu": 1}}},
}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            {"gateway": {"autoscaling": {"enabled": True}, "resources": NO_CPU}},
            "gateway.resources.requests.cpu is wanted",
        ),
        ({"gatway": {"replicas": 2}}, "gatway"),
        ({"nats": {"replicas": 2}}, "replicas"),
        ({"gateway": {"replicas": 0}}, "replicas"),
        ({"gateway": {"autoscaling": {"min": 11}}}, r"autoscaling.min \(11\) is above max \(10\)"),
        ({"gateway": {"env": {"SIE_GATEWAY_PRT": 1}}}, "SIE_GATEWAY_PRT is no setting"),
        ({"gateway": {"env": {"SIE_WORKER_POOL": "a"}}}, "is not read by sie-gateway"),
        ({"gateway": {"env": {"SIE_GATEWAY_PORT": 1}}}, "the chart sets SIE_GATEWAY_PORT itself"),
        (
            {"pods": {"env": {"SIE_GATEWAY_TEI_EMBED_MODEL": "a"}}},
            "pods.env: SIE_GATEWAY_TEI_EMBED",
        ),
        ({"nats": {"env": {"SIE_X": 1}}}, "nats.env: SIE_X is not read by the broker"),
        ({"gateway": {"podLabels": {"sie/worker": "a"}}}, "sie/worker"),
        (
            {"gateway": {"extraVolumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]}},
            "gateway.extraVolumeMounts: /tmp is there already",
        ),
        ({"workers": {"cpu": {"device": "tpu"}}}, "device"),
        ({"workers": {"l4": {k: v for k, v in KIND.items() if k != "server"}}}, "server"),
        ({"workers": {"cpu": {"scaling": {"min": 5}}}}, r"scaling.min \(5\) is above max \(4\)"),
        ({"workers": {"cpu": {"bundle": "gliner"}}}, "server.image=server-gliner alone"),
        (
            {"workers": {"cpu": {"sidecar": {"env": {"SIE_WORKER_X": 1}}}}},
            "workers.cpu.sidecar.env",
        ),
        ({"tls": {"enabled": True}}, "tls.secrets.config is wanted"),
        ({"tls": {"mutual": True}}, "only with tls.enabled"),
        ({"hfToken": {"create": True}}, "hfToken.value is wanted"),
        ({"hfToken": {"value": "hf_1"}}, "only with hfToken.create"),
        ({"hfToken": {"create": True, "value": "a", "existingSecret": "b"}}, "one of them"),
        (
            {"keda": {"enabled": True}, "workers": {"other": KIND | {"machineProfile": "cpu"}}},
            "are one kind .default/cpu/default.: KEDA",
        ),
        ({"hubTokens": {"a-file": {"secret": "mine"}}}, "does not end in -file"),
        ({"hubTokens": {"A": {"secret": "mine"}}}, "invalid propertyName 'A'"),
        (
            {"hubTokens": {"a": {"secret": "mine"}}, "networkPolicy": {"hub": False}},
            "only with networkPolicy.hub",
        ),
        ({"nats": {"enabled": False}}, "nats.url is wanted"),
        ({"nats": {"url": "nats://a:1"}}, "nats.enabled=false"),
        ({"expose": {"ingress": {"enabled": True}}}, "expose.host is wanted"),
        ({"expose": {"host": "a.example.com"}}, "used only with"),
        ({"expose": TLS | {"tlsSecret": ""}}, "expose.tlsSecret is wanted"),
        ({"expose": TLS | {"configHost": "a.example.com"}}, "a name of its own"),
        ({"expose": TLS | {"configHost": "b.example.com"}}, "networkPolicy.operators is wanted"),
        (
            {"expose": TLS | {"configHost": "b.example.com"}, "networkPolicy": {"operators": PEER}},
            "auth.existingSecret is wanted",
        ),
        ({"expose": TLS | {"gatewayApi": {"enabled": True}}}, "className is wanted"),
        (
            {
                "auth": {"existingSecret": "tokens", "followersSecret": "followers"},
                "serviceMonitor": {"enabled": True},
            },
            "serviceMonitor.tokenSecret is wanted",
        ),
        # What follows Kubernetes takes in silence, or refuses when half of a release is there.
        ({"config": {"persistence": {"size": "10"}}}, "size"),
        ({"backup": {"size": "1m"}}, "size"),
        ({"gateway": {"resources": {"requests": {"memory": "512m"}}}}, "requests/memory"),
        ({"gateway": {"resources": {"requests": {"cpu": "1Gi"}}}}, "requests/cpu"),
        ({"gateway": {"resources": {"requests": {"cpu": "1.2.3"}}}}, "requests/cpu"),
        (
            {"gateway": {"resources": {"requests": {"memory": "2G"}, "limits": {"memory": "1Gi"}}}},
            "gateway.resources: requests.memory .2G. is above limits.memory .1Gi.",
        ),
        (
            {"workers": {"l4": KIND | {"server": {"resources": ABOVE}}}},
            "workers.l4.server.resources: requests.cpu .1. is above limits.cpu .500m.",
        ),
        ({"backup": {"schedule": "every day"}}, "schedule"),
        ({"backup": {"schedule": "every day at three o'clock"}}, "schedule"),
        ({"backup": {"schedule": "0 3 * *"}}, "schedule"),
        ({"backup": {"schedule": "@every day"}}, "schedule"),
        ({"backup": {"size": "10Ki"}}, "size"),
        ({"backup": {"size": "10000000K"}}, "size"),
        ({"backup": {"size": "1e3"}}, "size"),
        ({"nats": {"enabled": False, "url": "nats://a:1 nats://b:1"}}, "url"),
        ({"image": {"tag": "a b"}}, "tag"),
        ({"image": {"registry": "https://registry.example"}}, "registry"),
        ({"nats": {"enabled": False, "url": "http://a:1"}}, "url"),
        ({"pods": {"nodeSelector": {"a": "b c"}}}, "nodeSelector"),
        ({"pods": {"tolerations": [{"operator": "Exists", "value": "a"}]}}, "tolerations"),
        ({"gateway": {"extraVolumes": [{"name": "A_b", "emptyDir": {}}]}}, "extraVolumes"),
        ({"gateway": {"extraVolumeMounts": [{"name": "tmp", "mountPath": "a"}]}}, "mountPath"),
        (
            {"gateway": {"extraVolumeMounts": [{"name": "gone", "mountPath": "/a"}]}},
            "gateway.extraVolumeMounts: there is no volume gone",
        ),
        ({"networkPolicy": {"operators": [{"podSelector": {"matchLabel": {}}}]}}, "matchLabel"),
        ({"networkPolicy": {"operators": [{"ipBlock": {"cidr": "10.0.0.0"}}]}}, "cidr"),
        ({"networkPolicy": {"egress": [{"ports": [{"port": 70000}]}]}}, "port"),
    ],
)
def test_values_that_cannot_work_are_refused_by_name(more, said):
    with pytest.raises(helm_python.HelmError, match=said):
        rendered(values_of("", more))


@pytest.mark.parametrize(
    "schedule",
    ["0 3 * * sun", "0 3 * * Mon-FRI", "0  3 *\t* *", "*/5,1-9/2 ? * jan 7", "@every 1h30m"],
)
def test_a_schedule_is_whatever_cron_takes(schedule):
    made = rendered(values_of("", {"backup": {"enabled": True, "schedule": schedule}}))
    (job,) = [each for each in made if each["kind"] == "CronJob"]
    assert job["spec"]["schedule"] == schedule


@pytest.mark.parametrize(
    ("url", "ports"),
    [
        ("nats://a:4222/", {4222}),
        ("nats://a:4222, tls://b:4333/", {4222, 4333}),
        ("nats://a ,nats://b:4333", {4222, 4333}),
    ],
)
def test_a_broker_of_ones_own_is_named_as_its_clients_name_it(url, ports):
    made = rendered(values_of("", {"nats": {"enabled": False, "url": url}}))
    (policy,) = [
        each
        for each in made
        if each["kind"] == "NetworkPolicy" and each["metadata"]["name"].endswith("-config")
    ]
    rules = [rule["ports"] for rule in policy["spec"]["egress"] if "to" not in rule]
    assert {port["port"] for each in rules for port in each} - {53, 443} == ports
    config = dict(pod_specs(made))["config"]
    told = [each for one in containers(config) for each in one.get("env", ())]
    assert {each["value"] for each in told if each["name"] == "SIE_CONFIG_NATS_URL"} == {url}


@pytest.mark.parametrize(
    ("size", "stored"),
    [
        ("4194304Ki", 3865470566),
        ("4000000k", 3600000000),
        ("4e9", 3600000000),
        ("4E+9", 3600000000),
        (".1E", 90000000000000000),
        ("1Ei", 1037629354146162304),
        ("4000000000", 3600000000),
    ],
)
def test_a_size_is_in_any_unit_of_kubernetes_and_the_broker_is_told_of_it(size, stored):
    made = rendered(values_of("", {"nats": {"persistence": {"size": size}}}))
    (told,) = {
        match[1]
        for each in made
        if each["kind"] in {"ConfigMap", "Secret"}
        for text in (each.get("data") or each.get("stringData") or {}).values()
        if (match := re.search(r"max_file_store: (\S+)", str(text)))
    }
    # Nine tenths, as near as a float tells them.
    assert abs(int(told) - stored) <= stored / 2**50


def test_limits_are_compared_with_requests_in_other_units():
    def told(requested: str, limit: str) -> None:
        sizes = {"requests": {"memory": requested}, "limits": {"memory": limit}}
        rendered(values_of("", {"gateway": {"resources": sizes}}))

    told("1e9", "1E")
    told("976562Ki", "1000000k")
    with pytest.raises(helm_python.HelmError, match=r"is above limits\.memory"):
        told("2e9", "1953124Ki")


@pytest.mark.parametrize("release", ["my.app", "1st"])
def test_a_release_whose_services_the_cluster_would_refuse_is_refused_before(release):
    with pytest.raises(helm_python.HelmError, match="begins with a letter"):
        chart().render(values_of(""), name=release, namespace="sie")


@pytest.mark.parametrize("gone", ["tls", "gateway.leaveSeconds"])
def test_values_of_an_older_chart_that_are_reused_are_refused_with_the_way(tmp_path, gone):
    copy = tmp_path / "sie-cluster"
    shutil.copytree(CHART, copy)
    values = yaml.safe_load((copy / "values.yaml").read_text())
    *above, last = gone.split(".")
    inner = values
    for part in above:
        inner = inner[part]
    del inner[last]
    # With --reuse-values these are the defaults, whatever the new chart's file says.
    (copy / "values.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(helm_python.HelmError, match=rf"{gone}.*--reset-then-reuse-values"):
        helm_python.Chart.load(str(copy)).render({}, name="demo", namespace="sie")


@pytest.mark.parametrize("told", ["500m", 0.5, "0.5"])
def test_quantities_are_compared_as_numbers(told):
    resources = {"requests": {"cpu": told, "memory": "1Gi"}, "limits": {"memory": "1024Mi"}}
    assert rendered(values_of("", {"gateway": {"resources": resources}}))


def test_the_first_line_of_the_manual_is_taken():
    token = {"hfToken": {"create": True, "value": "hf_1"}}
    documents = rendered(values_of("values-gke.yaml", token))
    (secret,) = [d for d in documents if d["metadata"]["name"].endswith("-hf-token")]
    assert secret["stringData"] == {"token": "hf_1"}


def test_a_new_log_has_the_pools_of_the_workers_that_the_values_bring():
    kinds = {"l4": KIND, "night": KIND | {"pool": "night"}}
    documents = rendered(values_of("", {"workers": kinds}))
    assert variables(documents, "config")["SIE_CONFIG_POOLS"] == "default=cpu+l4,night=l4"


def test_a_rollout_of_workers_on_gpus_wants_no_gpu_more():
    documents = rendered(values_of("", {"workers": {"l4": KIND}}))
    strategies = {
        d["metadata"]["name"]: d["spec"]["strategy"]["rollingUpdate"]
        for d in documents
        if d["kind"] == "Deployment" and "-worker-" in d["metadata"]["name"]
    }
    assert strategies == {
        "demo-sie-cluster-worker-cpu": {"maxUnavailable": 0, "maxSurge": 1},
        "demo-sie-cluster-worker-l4": {"maxUnavailable": 1, "maxSurge": 0},
    }


def test_a_mounted_key_signs_the_log_and_followers_take_no_other():
    key = {"config": {"signingKey": {"existingSecret": "key"}, "publicKey": "ab" * 32}}
    documents = rendered(values_of("", key))
    path = Path(variables(documents, "config")["SIE_CONFIG_SIGNING_KEY"])
    (spec,) = [t["spec"] for role, t in pod_specs(documents) if role == "config"]
    (mount,) = [
        m["name"]
        for m in spec["containers"][0]["volumeMounts"]
        if m["mountPath"] == str(path.parent)
    ]
    (secret,) = [v["secret"] for v in spec["volumes"] if v["name"] == mount]
    # sie-config refuses a key that everybody may read.
    assert secret == {"secretName": "key", "defaultMode": 0o440}
    assert path.name == "log.pem"
    for role in ("gateway", "worker"):
        given = variables(documents, role)
        assert given[f"SIE_{role.upper()}_CONFIG_PUBLIC_KEY"] == "ab" * 32


def test_the_console_reaches_a_gateway_and_is_named_as_it_is_reached():
    given = variables(rendered(values_of("")), "config")
    assert given["SIE_CONFIG_GATEWAY_URL"] == "http://demo-sie-cluster-gateway:80"
    assert given["SIE_CONFIG_ADVERTISED_URL"] == "http://demo-sie-cluster-config:8081"
    outside = {
        "expose": TLS | {"configHost": "b.example.com"},
        "networkPolicy": {"operators": PEER},
        "auth": {"existingSecret": "tokens", "followersSecret": "followers"},
    }
    documents = rendered(values_of("", outside))
    assert variables(documents, "config")["SIE_CONFIG_ADVERTISED_URL"] == "https://b.example.com"
    gateway = variables(documents, "gateway")
    assert gateway["SIE_GATEWAY_CONFIG_PUBLIC_URL"] == "https://b.example.com"


def pages_of(more):
    """The web pages of a gateway and of sie-config; None where the chart names none."""
    documents = rendered(values_of("", more))
    return tuple(
        variables(documents, role).get(f"SIE_{role.upper()}_WEB_PAGES")
        for role in ("gateway", "config")
    )


def test_an_open_cluster_answers_to_each_name_that_the_values_tell_of():
    named = "https://c.example.com"
    gateway, config = pages_of(
        {
            "expose": TLS | {"host": "a.example.com"},
            "hosts": ["nlb.elb.eu-west-1.amazonaws.com"],
            "gateway": {"env": {"SIE_GATEWAY_WEB_PAGES": named}},
            "config": {"env": {"SIE_CONFIG_WEB_PAGES": named}},
        }
    )
    both = {"nlb.elb.eu-west-1.amazonaws.com", "c.example.com"}
    own = "demo-sie-cluster"
    assert hosts_of(gateway.split(",")) == both | {f"{own}-gateway.sie", "a.example.com"}
    assert hosts_of(config.split(",")) == both | {f"{own}-config.sie"}


def test_of_a_cluster_with_tokens_only_its_env_names_web_pages():
    tokens = {"auth": {"existingSecret": "mine", "followersSecret": "mine"}, "hosts": ["a.b.com"]}
    assert pages_of(tokens) == (None, None)
    told = {"SIE_GATEWAY_WEB_PAGES": "https://c.example.com"}
    assert pages_of(tokens | {"gateway": {"env": told}}) == ("https://c.example.com", None)


@pytest.mark.parametrize("auth", [{}, {"existingSecret": "mine", "followersSecret": "mine"}])
def test_web_pages_from_a_secret_are_joined_to_those_that_an_open_cluster_names(auth):
    source = {"secretKeyRef": {"name": "mine", "key": "pages"}}
    more = {"gateway": {"env": {"SIE_GATEWAY_WEB_PAGES": {"valueFrom": source}}}, "auth": auth}
    documents = rendered(values_of("", more))
    found = [
        variable
        for _, template in pod_specs(documents)
        for container in containers(template)
        for variable in container["env"]
        if variable["name"].endswith("_WEB_PAGES")
    ]
    named = {each["name"]: each for each in found if "CONFIG" not in each["name"]}
    if auth:
        assert named["SIE_GATEWAY_WEB_PAGES"]["valueFrom"] == source
        return
    # Kubernetes puts in the value of a variable that stands before.
    assert [*named] == ["TOLD_WEB_PAGES", "SIE_GATEWAY_WEB_PAGES"]
    assert named["TOLD_WEB_PAGES"]["valueFrom"] == source
    joined = named["SIE_GATEWAY_WEB_PAGES"]["value"].split(",")
    assert joined[-1] == "$(TOLD_WEB_PAGES)"
    assert hosts_of(joined[:-1]) == {"demo-sie-cluster-gateway.sie"}


def test_models_outlive_a_worker_where_their_files_are_shared():
    shared = {"workers": {"cpu": {"cache": {"volume": "shared"}}}}
    documents = rendered(values_of("", shared))
    assert models_volume(documents) == {
        "persistentVolumeClaim": {"claimName": "demo-sie-cluster-models"}
    }
    (claim,) = [d for d in documents if d["metadata"]["name"] == "demo-sie-cluster-models"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    own = rendered(values_of("", shared | {"modelCache": {"existingClaim": "mine"}}))
    assert models_volume(own) == {"persistentVolumeClaim": {"claimName": "mine"}}
    assert not [d for d in own if d["metadata"]["name"] == "demo-sie-cluster-models"]
    node = rendered(values_of("", {"workers": {"cpu": {"cache": {"volume": "node"}}}}))
    assert models_volume(node) == {"hostPath": {"path": "/var/cache/sie", "type": "Directory"}}


def test_a_backup_goes_where_the_log_is():
    place = {
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "storage", "operator": "Exists"}],
    }
    documents = rendered(values_of("", {"config": place, "backup": {"enabled": True}}))
    specs = {role: t["spec"] for role, t in pod_specs(documents) if role in ("config", "backup")}
    for spec in specs.values():
        assert {key: spec[key] for key in place} == place
    (near,) = specs["backup"]["affinity"]["podAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    assert near["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] == "config"
    claims = [
        {
            v["persistentVolumeClaim"]["claimName"]
            for v in spec["volumes"]
            if len(v) == 2 and "persistentVolumeClaim" in v
        }
        for spec in (specs["config"], specs["backup"])
    ]
    assert claims[0] < claims[1]


def models_volume(documents):
    (spec,) = [t["spec"] for role, t in pod_specs(documents) if role == "worker"]
    (volume,) = [v for v in spec["volumes"] if v["name"] == "models"]
    return {key: value for key, value in volume.items() if key != "name"}


def test_a_cluster_without_a_way_out_asks_nobody_outside():
    documents = rendered(values_of("values-airgapped.yaml"))
    assert variables(documents, "server")["HF_HUB_OFFLINE"] == "1"
    policies = [d["spec"]["egress"] for d in documents if d["kind"] == "NetworkPolicy"]
    ports = {p["port"] for rules in policies for rule in rules for p in rule.get("ports", ())}
    assert ports == {53}
    assert {p["port"] for p in worker_egress(rendered(values_of("")))} == {53, 443}


def worker_egress(documents):
    (policy,) = [
        d
        for d in documents
        if d["kind"] == "NetworkPolicy" and d["metadata"]["name"].endswith("-worker")
    ]
    return [port for rule in policy["spec"]["egress"] for port in rule.get("ports", ())]


def test_only_brokers_speak_to_brokers_and_outside_only_to_gateways():
    documents = rendered(values_of(""))
    doors = {
        d["metadata"]["name"].removeprefix("demo-sie-cluster-"): d["spec"]["ingress"]
        for d in documents
        if d["kind"] == "NetworkPolicy"
    }
    assert [*doors] == ["gateway", "config", "worker", "nats", "test"]
    assert doors["gateway"] == [{"ports": [{"port": 8080}]}]
    assert doors["test"] == []
    (routes,) = [rule for rule in doors["nats"] if rule["ports"] == [{"port": 6222}]]
    (peer,) = routes["from"]
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "nats"
    for role, ports in (("config", [8081]), ("worker", [8082, 8083])):
        (rule,) = doors[role]
        assert rule["ports"] == [{"port": port} for port in ports]
        own, monitoring = rule["from"]
        assert "app.kubernetes.io/component" not in own["podSelector"]["matchLabels"]
        assert monitoring["namespaceSelector"]
    some = rendered(values_of("", {"networkPolicy": {"clients": PEER}}))
    (rule,) = next(
        d["spec"]["ingress"]
        for d in some
        if d["metadata"]["name"].endswith("cluster-gateway") and d["kind"] == "NetworkPolicy"
    )
    assert PEER[0] in rule["from"]


@pytest.mark.parametrize("path", written())
def test_what_the_chart_has_from_elsewhere_is_what_it_is(path):
    text = (CHART / path).read_text()
    assert text == written()[path], "python -m tests.support.chart_page writes it"


def test_every_value_says_what_it_is():
    assert [path for path, told in leaves(schema()) if not told.get("description")] == []


def variables(documents, name):
    """The plain variables of a container."""
    return {
        variable["name"]: variable.get("value", "")
        for _, template in pod_specs(documents)
        for container in containers(template)
        if container["name"] == name
        for variable in container["env"]
    }


def test_a_broker_of_ones_own_is_spoken_to_and_none_is_made():
    documents = rendered(
        values_of("", {"nats": {"enabled": False, "url": "nats://elsewhere:4222"}})
    )
    assert not [d for d in documents if d["kind"] in ("StatefulSet", "ConfigMap")]
    for _, template in pod_specs(documents):
        for container in containers(template):
            urls = [v["value"] for v in container["env"] if v["name"].endswith("_NATS_URL")]
            silent = container["name"] in ("server", "test")
            assert urls == ([] if silent else ["nats://elsewhere:4222"])


def test_a_closed_cluster_wants_tokens_for_its_followers():
    with pytest.raises(Exception, match=r"auth\.followersSecret is wanted"):
        rendered(values_of("", {"auth": {"existingSecret": "tokens"}}))
