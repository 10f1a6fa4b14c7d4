"""The published MCP server over the published SDK: its tools that need no generation."""

import asyncio
import os
import sys

from mcp.shared.memory import create_connected_server_and_client_session
from sie_mcp.config import MCPConfig
from sie_mcp.server import build_server


async def main(url: str) -> None:
    """Call the tools as an agent does."""
    # What it redacts by takes `threshold`, as the models of `gliner` do.
    own = {"SIE_MCP_EXTRACT_MODEL": "finder", "SIE_MCP_PII_MODEL": "org/finder"}
    os.environ.update(SIE_BASE_URL=url, **own)
    server = build_server(MCPConfig.from_env())
    async with create_connected_server_and_client_session(server) as session:
        offered = {tool.name for tool in (await session.list_tools()).tools}
        assert {"extract_entities", "redact_pii"} <= offered
        asked = {"content": "find me", "labels": ["person"]}
        found = await session.call_tool("extract_entities", asked)
        assert not found.isError, found
        assert "find me" in str(found.structuredContent)
        secret = {"content": "Ada Lovelace", "labels": ["person"]}
        redacted = await session.call_tool("redact_pii", secret)
        assert not redacted.isError, redacted
        assert "Ada" not in str(redacted.structuredContent["redacted_text"]), redacted
        refused = await session.call_tool("summarize_document", {"content": "a text"})
        assert refused.isError or "error" in str(refused.structuredContent).lower(), refused


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
