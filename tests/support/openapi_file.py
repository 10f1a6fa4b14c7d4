"""The committed OpenAPI documents, and the way to write them anew.

python -m tests.support.openapi_file
"""

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

import httpx
from tests.support.config_writer import running
from tests.support.gateway_world import gateway_world
from tests.support.told_answers import OPENAPI_FILES

from sie_config.http.api import build_app

__all__ = ["OPENAPI_FILES", "current_documents"]


async def current_documents(folder: Path) -> dict[str, Any]:
    """The document that each application tells at `/openapi.json`."""
    async with running(folder) as plane, gateway_world() as world:
        return {
            "sie-config": await _told(build_app(plane)),
            "sie-gateway": await _told(world.app),
        }


async def _told(app: Any) -> dict[str, Any]:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as http:
        document: dict[str, Any] = (await http.get("/openapi.json")).json()
        return document


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        documents = asyncio.run(current_documents(Path(folder)))
    for name, document in documents.items():
        OPENAPI_FILES[name].write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
