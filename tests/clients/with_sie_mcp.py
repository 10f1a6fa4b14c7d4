"""The published MCP server over the published SDK: its tools that need no generation.

With a model's name behind the address, that model finds the entities.
"""

import asyncio
import os
import sys

from mcp.shared.memory import create_connected_server_and_client_session
from sie_mcp.config import MCPConfig
from sie_mcp.server import build_server

TEXT = "Tim Cook spoke in Berlin."
LABELS = ["person", "location"]


async def main(url: str, finder: str = "finder", remover: str = "org/finder") -> None:
    """Call the tools as an agent does."""
    # What it redacts by takes `threshold`, as the models of `gliner` do.
    own = {"SIE_MCP_EXTRACT_MODEL": finder, "SIE_MCP_PII_MODEL": remover}
    os.environ.update(SIE_BASE_URL=url, **own)
    server = build_server(MCPConfig.from_env())
    async with create_connected_server_and_client_session(server) as session:
        offered = {tool.name for tool in (await session.list_tools()).tools}
        assert {"extract_entities", "redact_pii"} <= offered
        asked = {"content": TEXT, "labels": LABELS}
        found = await session.call_tool("extract_entities", asked)
        assert not found.isError, found
        assert "Tim Cook" in str(found.structuredContent)
        redacted = await session.call_tool("redact_pii", asked)
        assert not redacted.isError, redacted
        left = redacted.structuredContent["redacted_text"]
        assert "Tim Cook" not in left and "Berlin" not in left, redacted
        refused = await session.call_tool("summarize_document", {"content": "a text"})
        assert refused.isError or "error" in str(refused.structuredContent).lower(), refused


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
