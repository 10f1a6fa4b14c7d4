"""A web page of anywhere, in the browser of who reaches sie-config; and clients that leave."""

import asyncio
import contextlib
import json
import signal
from pathlib import Path

import httpx
import pytest
from tests.support.config_process import config_process
from tests.support.config_writer import model
from tests.support.log_world import nowhere
from tests.support.polling import until_told
from tests.support.served import served_application

from sie_runtime.process.status_routes import status_application

pytestmark = pytest.mark.integration

CONFIGS = "/v1/configs"
PAGE = {"origin": "https://page.example"}
JSON = {"content-type": "application/json"}
BATCH = {"operations": [{"op": "delete", "kind": "model", "key": "m"}]}
SIMPLE = (
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    None,
)
"""The media types that a browser sends for a page of elsewhere without asking first."""


async def test_a_page_that_points_its_own_name_here_reads_nothing_of_an_open_process(
    tmp_path: Path,
) -> None:
    flags = ("--advertised-url", "http://config.example.com:8081")
    async with config_process(tmp_path, nowhere(), *flags) as (_, client):
        for name in (
            "evil.com",
            "evil.com:8081",
            "EVIL.COM.",
            "127.0.0.1.evil.com",
            "localhost.evil.com",
        ):
            for path in ("epoch", "models", "export", "events", "audit"):
                refused = await client.get(f"{CONFIGS}/{path}", headers={"host": name})
                assert refused.status_code == 403, f"{path} as {name}"
                assert refused.json()["detail"]["field"] == "Host"
                assert "--web-pages" in refused.json()["detail"]["message"]
            metrics = await client.get("/metrics", headers={"host": name})
            assert metrics.status_code == 403
        names = (
            "localhost:8081",
            "127.0.0.1",
            "[::1]:8081",
            "10.1.2.3:80",
            "sie-config",
            "box.local",
        )
        for name in (
            *names,
            "sie-config.models.svc:8081",
            "config.example.com",
            "config.example.com:80",
        ):
            told = await client.get(f"{CONFIGS}/epoch", headers={"host": name})
            assert told.status_code == 200, f"{name}: {told.text}"
        # A probe asks by whatever name it was given.
        assert (await client.get("/healthz", headers={"host": "evil.com"})).status_code == 200


async def test_a_page_that_points_its_own_name_at_a_worker_reads_nothing_of_it() -> None:
    application = status_application(lambda: {"ready": True, "models": ["org/secret"]})
    with served_application(lambda: contextlib.nullcontext(application)) as url:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            for name in ("evil.com", "evil.com:8083", "EVIL.COM.", "127.0.0.1.evil.com"):
                for path in ("/readyz", "/metrics", "/nothing"):
                    refused = await client.get(path, headers={"host": name})
                    assert refused.status_code == 403, f"{path} as {name}"
                    assert refused.json()["detail"]["field"] == "Host"
                    assert "by its address, or over TLS" in refused.text
                alive = await client.get("/healthz", headers={"host": name})
                assert alive.status_code == 200
            for name in ("localhost", "127.0.0.1:1", "[::1]:8083", "sie-worker.sie.svc:8083"):
                for path in ("/readyz", "/metrics"):
                    told = await client.get(path, headers={"host": name})
                    assert told.status_code == 200, f"{path} as {name}"


async def test_a_page_of_elsewhere_writes_nothing(tmp_path: Path) -> None:
    flags = ("--advertised-url", "http://config.example:8081")
    async with config_process(tmp_path, nowhere(), *flags) as (_, client):
        assert (await client.post(f"{CONFIGS}/models", json=model("m"))).status_code == 201
        before = (await client.get(f"{CONFIGS}/epoch")).json()
        body = json.dumps(BATCH).encode()
        for path in ("batch", "models", "compact", "revert", "replicas", "wait", "replicas/forget"):
            for media in SIMPLE:
                told = {"content-type": media} if media else {}
                refused = await client.post(f"{CONFIGS}/{path}", content=body, headers=told)
                assert refused.status_code == 415, f"{path} as {media}: {refused.text}"
                assert refused.json()["detail"]["field"] == "Content-Type"
        for origin in ("https://page.example", "null", "http://config.example", "file://"):
            for method, path in (("POST", "batch"), ("DELETE", "models/m"), ("GET", "export")):
                refused = await client.request(
                    method, f"{CONFIGS}/{path}", content=body, headers=JSON | {"origin": origin}
                )
                assert refused.status_code == 403, f"{method} {path} of {origin}"
                assert refused.json()["detail"]["field"] == "Origin"
        # A browser that asks whether it may is not told that it may.
        asked = await client.options(
            f"{CONFIGS}/models/m", headers=PAGE | {"access-control-request-method": "DELETE"}
        )
        assert asked.status_code == 403
        assert "access-control-allow-origin" not in asked.headers
        assert (await client.get(f"{CONFIGS}/epoch")).json() == before

        own = {"origin": "http://config.example:8081"}
        made = await client.post(f"{CONFIGS}/models", json=model("n"), headers=own)
        assert made.status_code == 201, made.text


async def left(url: httpx.URL, head: str) -> None:
    """Send part of a request, and leave."""
    _, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(head.replace("\n", "\r\n").encode())
    await writer.drain()
    writer.transport.abort()


async def test_a_client_that_leaves_leaves_no_traceback(tmp_path: Path) -> None:
    half = "content-type: application/json\ncontent-length: 1000\n\n{"
    async with config_process(tmp_path, nowhere()) as (process, client):
        for path in ("models", "batch", "replicas", "wait", "compact"):
            await left(client.base_url, f"POST {CONFIGS}/{path} HTTP/1.1\nhost: x\n{half}")
        head = (await client.get(f"{CONFIGS}/epoch")).json()["epoch"]
        for path in (f"epoch?after={head}&wait=30", "export", "log", "verify", "replicas"):
            await left(client.base_url, f"GET {CONFIGS}/{path} HTTP/1.1\nhost: x\n\n")
        # All of them were met: what came after them is answered.
        assert (await client.post(f"{CONFIGS}/models", json=model("m"))).status_code == 201

        async def nobody_waits() -> bool:
            text = (await client.get("/metrics")).text
            return "sie_config_polls_waiting 1.0" not in text

        await until_told(nobody_waits)
        process.send_signal(signal.SIGTERM)
        _, told = await process.communicate()
    assert process.returncode == 0
    assert b"Traceback" not in told, told.decode()
    assert b"nobody foresaw" not in told, told.decode()
