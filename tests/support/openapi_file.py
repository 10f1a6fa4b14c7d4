"""The committed OpenAPI document, and the way to write it anew.

python -m tests.support.openapi_file
"""

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

from tests.support.config_writer import running

from sie_config.api import build_app
from sie_config.openapi import openapi_document

__all__ = ["OPENAPI_FILE", "current_document"]

OPENAPI_FILE = Path(__file__).parents[2] / "docs" / "openapi" / "sie-config.json"


async def current_document(folder: Path) -> dict[str, Any]:
    """The document of the application as it is."""
    async with running(folder) as plane:
        return openapi_document(build_app(plane))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        document = asyncio.run(current_document(Path(folder)))
    OPENAPI_FILE.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
