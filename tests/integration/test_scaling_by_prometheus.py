"""From zero and back by the chart's own triggers, evaluated by a real Prometheus."""

import asyncio
from typing import Any

import pytest
from tests.support.chart import rendered, values_of
from tests.support.keda import Scaler
from tests.support.mortal_workers import MODEL, Cluster, mortal_workers
from tests.support.polling import until, until_told
from tests.support.prometheus import prometheus
from tests.support.tokens import bearer, tokens_file

pytestmark = [pytest.mark.integration, pytest.mark.tool("prometheus")]

LABELS = {"namespace": "sie", "release": "demo"}
OTHERS = {"namespace": "sie", "release": "other"}
COOLDOWN_S = 4


def scaled_object() -> dict[str, Any]:
    scaling = {"min": 0, "max": 2, "itemsPerWorker": 1}
    values = {
        "keda": {"enabled": True, "pollingSeconds": 1, "cooldownSeconds": COOLDOWN_S},
        "workers": {"cpu": {"scaling": scaling}},
    }
    (found,) = [each for each in rendered(values_of("", values)) if each["kind"] == "ScaledObject"]
    spec: dict[str, Any] = found["spec"]
    return spec


async def scaled_to(cluster: Cluster, replicas: int) -> None:
    for number, pair in enumerate(cluster.pairs):
        await (pair.start() if number < replicas else pair.kill())


async def test_the_first_request_brings_a_worker_and_is_answered_then_more_come_and_all_leave(
    tmp_path,
):
    tokens = tokens_file(tmp_path / "tokens.json", caller=("infer", "read"), scraper=("metrics",))
    flags = {"auth-file": str(tokens), "cold-shown-s": "3"}
    headers = bearer("caller")
    spec = scaled_object()
    async with mortal_workers(
        tmp_path, 2, started=False, gateway=flags, headers=headers
    ) as cluster:
        target = [cluster.gateway.removeprefix("http://")]
        async with (
            prometheus(tmp_path / "p", target, labels=LABELS, token="scraper") as server,
            prometheus(tmp_path / "other", target, labels=OTHERS, token="scraper") as another,
        ):
            await until_told(server.all_up)
            await until_told(another.all_up)
            # Every series that is scaled by is there, at 0, before anybody asked; and KEDA of a
            # release sees nothing of another's.
            for trigger in spec["triggers"]:
                query = trigger["metadata"]["query"]
                assert await server.value(query) == 0, query
                inner = query.removesuffix(" or vector(0)")
                if "kind_requests" not in inner:
                    assert await server.query(inner), f"no series: {inner}"
                    assert await another.query(inner) == [], f"of another release: {inner}"
            scaler = Scaler(spec, server, lambda replicas: scaled_to(cluster, replicas))
            scaling = asyncio.create_task(scaler.run())
            try:
                await until(lambda: scaler.looks >= 2)
                assert scaler.replicas == 0, "nobody asked"
                # One request, sent once.
                body = {"items": [{"text": "first"}]}
                first = await cluster.http.post(
                    f"{cluster.gateway}/v1/encode/{MODEL}",
                    json=body,
                    headers={"Prefer": "wait=60"},
                    timeout=90,
                )
                assert cluster.right(first, "first"), first.text
                assert scaler.history == [0, 1]
                cluster.pairs[0].execution.pause()
                asking = [asyncio.create_task(cluster.ask(f"text {n}")) for n in range(8)]
                await until(lambda: scaler.replicas == 2)
                cluster.pairs[0].execution.resume()
                for number, answer in enumerate(await asyncio.gather(*asking)):
                    assert cluster.right(answer, f"text {number}"), answer.text
                await until(lambda: scaler.replicas == 0, within_s=90)
                assert scaler.history == [0, 1, 2, 0]
            finally:
                scaling.cancel()
                await asyncio.wait([scaling])
