"""One trace through every process that a request passes, across a worker's death too."""

import asyncio
import json
from functools import partial

import pytest
from tests.support.mortal_workers import MODEL, mortal_workers, texts_in_flight
from tests.support.otlp import Collector, Told, collector
from tests.support.polling import until

from sie_runtime.process import tracing

pytestmark = pytest.mark.integration


@pytest.fixture
def traces(monkeypatch):
    with collector() as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        yield found


def one(traces: Collector, trace: str, name: str) -> Told:
    (found,) = traces.of(trace)[name]
    return found


def is_whole(traces: Collector, trace: str) -> bool:
    """Each process sends its own spans in its own time."""
    return {"sie-gateway encode", "sie-worker job"} <= traces.of(trace).keys()


def linked(traces: Collector) -> list[str]:
    """The traces that batches lead to."""
    batches = [each for each in list(traces.spans) if each.name == "batch"]
    return sorted(trace for each in batches for trace in each.links)


def traceparent(number: int, flags: str = "01") -> str:
    return f"00-{number:032x}-{number:016x}-{flags}"


async def test_a_trace_goes_from_the_client_to_the_batch_and_survives_a_worker_that_dies(
    traces, tmp_path
):
    async with mortal_workers(tmp_path, 2) as cluster:
        url = f"{cluster.gateway}/v1/encode/{MODEL}"
        body = {"items": [{"text": "x"}]}

        async def ask(number: int, flags: str = "01"):
            headers = {"traceparent": traceparent(number, flags), "X-Request-Id": f"mine-{number}"}
            return await cluster.http.post(url, json=body, headers=headers, timeout=60)

        answers = await asyncio.gather(*(ask(number) for number in range(1, 5)))
        for number, answer in enumerate(answers, start=1):
            assert answer.status_code == 200
            assert answer.headers["X-Request-Id"] == f"mine-{number}"
            assert answer.headers["traceparent"].split("-")[1] == f"{number:032x}"
            assert answer.headers["X-SIE-Request-Id"] != f"mine-{number}", "the queue's own is ours"
            trace = f"{number:032x}"
            await until(partial(is_whole, traces, trace))
            edge, job = (
                one(traces, trace, "sie-gateway encode"),
                one(traces, trace, "sie-worker job"),
            )
            assert edge.parent == f"{number:016x}"
            assert job.parent == edge.span
            assert edge.attributes["sie.request_id"] == answer.headers["X-SIE-Request-Id"]
            # Which one it is, the broker says: on a loaded machine it was a second.
            assert int(job.attributes["sie.delivery"]) >= 1
            assert not job.failed
        # Each request shared a batch, or had one: every trace is linked from just one batch.
        await until(lambda: len(linked(traces)) >= 4)
        assert linked(traces) == [f"{number:032x}" for number in range(1, 5)]
        # A request that its caller does not sample is not traced, and keeps its trace.
        unsampled = await ask(9, "00")
        assert unsampled.headers["traceparent"] == traceparent(9, "00")
        # One without a trace begins one: everything is sampled here.
        alone = await cluster.http.post(url, json=body)
        trace = alone.headers["traceparent"].split("-")[1]
        await until(lambda: is_whole(traces, trace))
        assert one(traces, trace, "sie-gateway encode").parent == ""
        assert alone.headers["X-Request-Id"] == alone.headers["X-SIE-Request-Id"]
        assert traces.of(f"{9:032x}") == {}

        flight = await texts_in_flight(cluster, 2)
        await flight.holder.kill()
        for pair in cluster.pairs:
            if pair is not flight.holder:
                pair.execution.resume()
        answered = [
            (await task).headers["traceparent"].split("-")[1] for task in flight.asking.values()
        ]
        await until(lambda: all(is_whole(traces, trace) for trace in answered))
        again = [
            job
            for trace in answered
            for job in traces.of(trace)["sie-worker job"]
            if job.attributes["sie.delivery"] != "1"
        ]
        assert len(again) >= flight.held, "the second delivery is in the trace of the request"


async def test_a_change_of_the_config_is_a_span_and_logs_carry_both_ids(traces, tmp_path):
    async with mortal_workers(tmp_path, 1, gateway={"log-requests": "all"}) as cluster:
        headers = {"traceparent": traceparent(7), "X-Request-Id": "mine-7"}
        missing = f"{cluster.gateway}/v1/encode/no/such"
        refused = await cluster.http.post(missing, json={"items": []}, headers=headers)
        assert refused.status_code in (400, 404)
        looked = await cluster.http.get(f"{cluster.gateway}/v1/models", headers=headers)
        assert looked.headers["X-Request-Id"] == "mine-7"
        lines = [json.loads(line) for line in (tmp_path / "gateway.log").read_text().splitlines()]
        (line,) = [each for each in lines if each.get("client_request_id") == "mine-7"]
        assert line["trace_id"] == f"{7:032x}"
        assert line["request_id"] == refused.headers["X-SIE-Request-Id"]
        # A bucket has the trace of a request, where OpenMetrics is asked for.
        told = {"Accept": "application/openmetrics-text; version=1.0.0"}
        page = (await cluster.http.get(f"{cluster.gateway}/metrics", headers=told)).text
        buckets = [line for line in page.splitlines() if "request_seconds_bucket" in line]
        assert any(f'# {{trace_id="{7:032x}"}}' in line for line in buckets)


@pytest.fixture
def writer_traces(traces):
    """The writer of these clusters is in the test's own process."""
    tracing.begin_traces(role="config", process_id="1")
    yield traces
    tracing.end_traces()


def parts(traces: Collector, trace: str) -> dict[str, list[Told]]:
    """The spans of a trace by their name alone."""
    found: dict[str, list[Told]] = {}
    for each in list(traces.spans):
        if each.trace == trace:
            found.setdefault(each.name, []).append(each)
    return found


async def test_a_change_is_one_trace_from_its_request_to_each_replica_that_serves_it(
    writer_traces, tmp_path
):
    async with mortal_workers(tmp_path, 1) as cluster:
        trace = f"{7:032x}"
        pool = {"machine_profiles": ["cpu"]}
        # Nobody awaits the stream or the replicas.
        wrote = await cluster.writer.http.put(
            "/v1/configs/pools/traced", json=pool, headers={"traceparent": traceparent(7)}
        )
        assert wrote.status_code == 201
        wanted = {"PUT /v1/configs/pools": 1, "commit": 1, "publish": 1, "apply": 2}

        def is_all() -> bool:
            return {name: len(told) for name, told in parts(writer_traces, trace).items()} == wanted

        await until(is_all)
        told = parts(writer_traces, trace)
        (request,), (commit,), (publish,) = (told[name] for name in [*wanted][:3])
        assert request.parent == f"{7:016x}"
        assert (commit.parent, publish.parent) == (request.span, commit.span)
        epoch = str(wrote.json()["epoch"])
        assert commit.attributes["sie.epoch"] == epoch
        for apply in told["apply"]:
            assert (apply.parent, apply.attributes["sie.epoch"]) == (publish.span, epoch)
        assert {each.service for each in told["apply"]} == {"sie-gateway", "sie-worker"}
        # A change that nobody traces is nobody's span.
        unsampled = {"traceparent": traceparent(8, "00")}
        await cluster.writer.http.put("/v1/configs/pools/quiet", json=pool, headers=unsampled)
        await cluster.writer.published()
        assert writer_traces.of(f"{8:032x}") == {}
