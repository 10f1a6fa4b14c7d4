"""Traces: what is traced, what is handed on, and what it costs where nobody collects."""

import asyncio
import io
import json
import logging
import os
import random
import socket
import subprocess
import sys
from contextlib import asynccontextmanager

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import sampling
from tests.support.config_writer import model, running
from tests.support.gateway_world import gateway_world
from tests.support.otlp import Collector, collector
from tests.support.served import served_application

from sie_config.http.api import build_app
from sie_config.http.doors import Doors
from sie_runtime.access.access import Access, AccessSettings, hash_of
from sie_runtime.access.gate import Gate
from sie_runtime.access.rates import Rates
from sie_runtime.process import tracing
from sie_runtime.process.named_requests import NamedRequests
from sie_runtime.process.telemetry import configure_logs
from sie_schemas import ipc
from sie_schemas.documents import EncodeTask, ProfileDocument, Tasks
from sie_schemas.errors import FixRequest
from sie_sdk import SIEAsyncClient, SIEClient
from sie_server.backends import echo
from sie_server.backends.backend import DeviceSpec, ModelSpec
from sie_server.execution.execution import Execution
from sie_server.weights.sources import Weights

HEX = "0123456789abcdef"
GOOD = f"00-{1:032x}-{2:016x}-01"


@pytest.fixture
def traces(monkeypatch):
    """A collector that this process sends to."""
    with collector() as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        tracing.begin_traces(role="test", process_id="1")
        yield found
        tracing.end_traces()


def sent(traces: Collector) -> list[str]:
    """The names of what was traced, once all of it is sent."""
    tracing.end_traces()
    return [each.name for each in traces.spans]


@given(
    st.one_of(
        st.text(max_size=60),
        st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True),
        st.sampled_from([GOOD, GOOD.upper(), GOOD + "-x", f"00-{0:032x}-{2:016x}-01"]),
        st.sampled_from(["cc" + GOOD[2:] + more for more in ("", "-what", "-" + "x" * 9000, ".x")]),
    )
)
def test_what_is_handed_on_is_a_traceparent_or_nothing(text):
    found = tracing.known_trace(text.encode("utf-8"))
    assert found in ("", "00" + text.strip()[2:55])
    if found:
        version, trace, span, flags = found.split("-")
        assert [len(each) for each in (version, trace, span, flags)] == [2, 32, 16, 2]
        assert set(version + trace + span + flags) <= set(HEX)
        assert int(trace, 16)
        assert int(span, 16)
        assert tracing.trace_id_of(found) == trace


def test_without_a_collector_nothing_is_traced_and_the_library_is_not_imported():
    assert tracing.begin_span("x", "server", parent=GOOD, may_begin=True) is None
    program = (
        "import sys, sie_gateway.main, sie_config.main, sie_worker.main; "
        "print([name for name in sys.modules if name.startswith('opentelemetry.sdk')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("sampler", "argument", "share"),
    [
        ("", "", 1.0),
        ("parentbased_always_off", "", 0.0),
        ("parentbased_traceidratio", "0.01", 0.01),
        ("traceidratio", "1", 1.0),
        ("parentbased_traceidratio", "2", None),
        ("parentbased_traceidratio", "much", None),
        ("jaeger_remote", "", None),
    ],
)
def test_a_sampler_is_read_or_refused_by_its_name(sampler, argument, share):
    told = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_TRACES_SAMPLER": sampler,
        "OTEL_TRACES_SAMPLER_ARG": argument or "1",
    }
    if share is None:
        with pytest.raises(FixRequest, match=sampler):
            tracing.begin_traces(role="test", process_id="1", environ=told)
        assert tracing.begin_span("x", "server", parent=GOOD) is None
    else:
        tracing.begin_traces(role="test", process_id="1", environ=told)
        begun = [tracing.begin_span("x", "server", may_begin=True) for _ in range(200)]
        assert abs(sum(each is not None for each in begun) - 200 * share) <= 20
        # What comes with a trace keeps its own.
        assert tracing.begin_span("x", "server", parent=GOOD) is not None
        tracing.end_traces()


LOW, HIGH = f"{1:016x}{1:016x}", f"{1:016x}{2**63:016x}"


@pytest.mark.parametrize(
    ("sampler", "sampled"),
    [
        ("parentbased_always_on", {("01", LOW), ("01", HIGH)}),
        ("parentbased_always_off", {("01", LOW), ("01", HIGH)}),
        ("always_on", {("01", LOW), ("01", HIGH), ("00", LOW), ("00", HIGH)}),
        ("always_off", set()),
        ("traceidratio", {("01", LOW), ("00", LOW)}),
    ],
)
def test_whether_a_caller_may_have_itself_traced_is_the_samplers_matter(sampler, sampled):
    told = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_TRACES_SAMPLER": sampler,
        "OTEL_TRACES_SAMPLER_ARG": "0.5",
    }
    tracing.begin_traces(role="test", process_id="1", environ=told)
    begun = {
        (flags, trace)
        for flags in ("00", "01")
        for trace in (LOW, HIGH)
        if tracing.begin_span("x", "server", parent=f"00-{trace}-{2:016x}-{flags}") is not None
    }
    tracing.end_traces()
    assert begun == sampled


@pytest.mark.parametrize("share", [0.0, 1e-19, 1e-5, 0.1, 1 / 3, 0.9, 1.0])
def test_all_spans_of_a_trace_are_sampled_or_none_as_opentelemetry_has_it(share):
    told = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_TRACES_SAMPLER": "traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": str(share),
    }
    theirs = sampling.TraceIdRatioBased(share)
    edges = {theirs.bound + more for more in range(-2, 3)}
    halves = {min(max(half, 0), 2**64 - 1) for half in edges}
    halves |= {random.getrandbits(64) for _ in range(300)}

    def taken_by_theirs(trace_id: int) -> bool:
        return bool(theirs.should_sample(None, trace_id, "x").decision.is_sampled())

    tracing.begin_traces(role="test", process_id="1", environ=told)
    try:
        for half in halves:
            parent = f"00-{1:016x}{half:016x}-{2:016x}-01"
            child = tracing.begin_span("x", "internal", parent=parent)
            assert (child is not None) == taken_by_theirs((1 << 64) + half)
        asked = [tracing.begin_span("x", "server", may_begin=True) for _ in range(2000)]
        roots = [each for each in asked if each is not None]
        for root in roots:
            assert taken_by_theirs(int(root.trace_id, 16))
            assert tracing.begin_span("x", "internal", parent=root.traceparent) is not None
    finally:
        tracing.end_traces()
    # Six deviations: 2000 draws differ by more once in a thousand million runs.
    assert abs(len(roots) - 2000 * share) <= 6 * (2000 * share * (1 - share)) ** 0.5 + 1
    assert len({root.trace_id for root in roots}) == len(roots)


_BESIDE_ONE_THAT_HANGS = """
import sys
from sie_runtime.process.collected_spans import Collected

collected = Collected(role="test", process_id="1", bound=2**63)
for number in range(5000):
    collected.begin(f"span {number}", "internal", None, (), {}).end()
print("begun", flush=True)
sys.stdin.readline()
collected.end(within_s=0.05)
"""


@pytest.mark.timeout(60)
def test_a_collector_that_hangs_holds_no_request_and_not_the_end_of_a_process():
    # A process of its own: the library's thread tries again for long after, and draws random waits
    # meanwhile, which Hypothesis takes for a strategy's.
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        url = f"http://127.0.0.1:{hangs.getsockname()[1]}"
        with subprocess.Popen(
            [sys.executable, "-c", _BESIDE_ONE_THAT_HANGS],
            env=os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": url},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as program:
            assert program.stdout is not None
            assert program.stdout.readline() == "begun\n"
            # Somebody connects, and is told nothing.
            taken, _ = hangs.accept()
            with taken:
                program.communicate("end\n")
        assert program.returncode == 0


def test_a_batch_is_executed_in_the_trace_that_it_names(traces, tmp_path):
    device = DeviceSpec("cpu", 1, tmp_path)
    execution = Execution(device, memory_bytes_max=0)
    spec = ModelSpec(
        "m",
        "r1",
        Weights(tmp_path, None),
        Tasks(encode=EncodeTask()),
        ProfileDocument(backend="echo"),
    )
    execution.adopt("r1", echo.load(spec, device))
    inputs = (ipc.TextInput(text="x"),)
    for trace in (GOOD, ""):
        request = ipc.RunBatch(
            id=1, model_revision="r1", operation="encode", inputs=inputs, trace=trace
        )
        assert isinstance(execution.answer(request), ipc.BatchDone)
    assert sent(traces) == ["execute"]
    (span,) = traces.spans
    assert (span.trace, span.parent) == (f"{1:032x}", f"{2:016x}")
    assert (span.attributes["sie.device"], span.attributes["sie.inputs"]) == ("cpu", "1")


async def test_a_change_of_the_configuration_is_a_span_named_as_its_entry_is(traces, tmp_path):
    async with running(tmp_path) as plane:
        app = build_app(plane)
        transport = httpx.ASGITransport(NamedRequests(app, app.routes))
        async with httpx.AsyncClient(transport=transport, base_url="http://config") as client:
            headers = {"X-Request-Id": "mine", "traceparent": GOOD}
            wrote = await client.post("/v1/configs/models", json=model("m"), headers=headers)
            assert wrote.status_code == 201
            assert wrote.headers["X-Request-Id"] == "mine"
            assert wrote.headers["traceparent"].split("-")[1] == f"{1:032x}"
            alone = await client.post("/v1/configs/models", json=model("n"))
            looked = await client.get("/v1/configs/models")
            assert "X-Request-Id" not in looked.headers, "a look that named nothing"
            named = await client.get("/v1/configs/models", headers={"X-Request-Id": "look"})
            assert named.headers["X-Request-Id"] == "look"
            epoch = alone.json()["epoch"]
            entry = json.loads((await client.get(f"/v1/configs/entries/{epoch}")).content)
            assert alone.headers["X-Request-Id"] in json.dumps(entry), "its entry has the same id"
    assert sorted(sent(traces)) == ["POST /v1/configs/models"] * 2 + ["commit"] * 2
    posts = [each for each in traces.spans if each.name.startswith("POST")]
    commits = [each for each in traces.spans if each.name == "commit"]
    assert posts[0].attributes["sie.request_id"] == "mine"
    assert [each.parent for each in commits] == [each.span for each in posts]
    assert commits[1].attributes["sie.epoch"] == str(epoch)


COLOURED = {"color_message": "\x1b[36m"}
"""As uvicorn brings it."""
SECRET = "hf_" + "a" * 30


async def test_no_secret_and_no_length_of_a_client_leaves_with_a_span(traces, tmp_path):
    headers = {
        "traceparent": GOOD,
        "tracestate": f"vendor={SECRET},{'x' * 9000}",
        "baggage": f"user={SECRET}",
    }
    span = tracing.begin_span(SECRET, "server", parent=GOOD, attributes={"a": f"x {SECRET}"})
    assert span is not None
    span.tell("b", "https://user:pass@host")
    span.tell("c", "x" * 250 + SECRET)
    span.tell("d", "half \ud800 of one")
    span.end(f"failed with {SECRET}")
    async with running(tmp_path) as plane:
        app = build_app(plane)
        transport = httpx.ASGITransport(NamedRequests(app, app.routes))
        async with httpx.AsyncClient(transport=transport, base_url="http://config") as client:
            for path in (f"models/{SECRET}", SECRET, "pools/" + "x" * 5000):
                answer = await client.delete(f"/v1/configs/{path}", headers=headers)
                assert answer.status_code in (400, 404, 405, 422)
                assert not {"tracestate", "baggage"} & set(answer.headers)
            pool = {"machine_profiles": ["cpu"]}
            for name in "ab":
                url = f"/v1/configs/pools/{name}"
                assert (await client.put(url, json=pool, headers=headers)).status_code == 201
    names = sent(traces)
    assert names.count("PUT /v1/configs/pools") == 2
    assert "(a hub token)" in names
    told = repr(traces.spans)
    for secret in (SECRET, SECRET[:20], "pass@", "vendor", "baggage"):
        assert secret not in told
    assert max(len(text) for each in traces.spans for text in each.attributes.values()) == 256


async def test_paths_that_somebody_made_up_name_no_span(traces, tmp_path):
    grants = [
        {"name": role, "sha256": hash_of(role.encode()), "roles": [role], "tenant": ""}
        for role in ("read", "admin")
    ]
    (tmp_path / "tokens.json").write_text(json.dumps({"tokens": grants}))
    access = Access(AccessSettings(auth_file=tmp_path / "tokens.json"))
    rates = Rates("token", per_s=0.1, burst=1)
    async with running(tmp_path / "log") as plane, gateway_world() as world:
        app = build_app(plane)
        gate = Gate(app, access, Doors(app).role_of, rates=rates, clock=lambda: 0.0)
        told = set()
        for asked, headers in (
            (NamedRequests(gate, app.routes), {}),
            (NamedRequests(gate, app.routes), {"Authorization": "Bearer read"}),
            (NamedRequests(gate, app.routes), {"Authorization": "Bearer admin"}),
            (world.app, {}),
        ):
            transport = httpx.ASGITransport(asked)
            async with httpx.AsyncClient(transport=transport, base_url="http://there") as client:
                for number in range(4):
                    for path in (f"/r{number}/q{number}", f"/v1/configs/c{number}", "/v1/pools/p"):
                        for more in ("", f"/m{number}"):
                            answer = await client.post(f"{path}{more}", headers=headers)
                            told.add(answer.status_code)
                await client.post("/v1/configs/models", headers=headers)
    assert told >= {401, 403, 404, 405, 429}
    assert set(sent(traces)) == {
        "POST",
        "POST /v1/configs",
        "POST /v1/configs/models",
        "POST /v1/pools",
    }


async def test_a_log_line_of_a_request_has_its_id_and_its_trace():
    stream, root = io.StringIO(), logging.getLogger()
    before = root.handlers[:], root.level
    configure_logs(role="config", process_id="1", level="info", stream=stream)
    log = logging.getLogger("sie_test")

    async def one(name: str) -> None:
        tracing.name_task(name, GOOD)
        await asyncio.sleep(0)
        log.info("inside", extra={"request_id": "its own"} if name == "b" else COLOURED)

    try:
        await asyncio.gather(one("a"), one("b"))
        log.info("outside")
    finally:
        root.handlers, root.level = before
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert not any("color_message" in line for line in lines)
    assert [line.get("request_id") for line in lines] == ["a", "its own", None]
    assert [line.get("trace_id") for line in lines] == [f"{1:032x}", f"{1:032x}", None]


class Recording:
    """A server that keeps the headers of what it was asked."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []

    async def __call__(self, scope, receive, send):
        """ASGI."""
        self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
        await receive()
        content = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": content})
        await send({"type": "http.response.body", "body": b'{"models": []}'})


def test_the_clients_send_the_trace_of_the_application_that_calls():
    from opentelemetry import trace

    recording = Recording()

    @asynccontextmanager
    async def opened():
        yield recording

    async def of_the_async_client(url: str) -> None:
        async with SIEAsyncClient(url) as client:
            await client.list_models()

    known = trace.SpanContext(5, 6, False, trace.TraceFlags(1))
    with served_application(opened) as url, SIEClient(url) as client:
        with trace.use_span(trace.NonRecordingSpan(known)):
            client.list_models()
            asyncio.run(of_the_async_client(url))
        client.list_models()
    told = [each.get("traceparent", "") for each in recording.headers]
    assert [tracing.trace_id_of(each) for each in told] == [f"{5:032x}", f"{5:032x}", ""]
