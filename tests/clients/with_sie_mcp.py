"""The published MCP server over the published SDK: its tools that need no generation."""

import asyncio
import os
import sys

from mcp.shared.memory import create_connected_server_and_client_session
from sie_mcp.config import MCPConfig
from sie_mcp.server import build_server


async def main(url: str) -> None:
    """Call the tools as an agent does."""
    os.environ.update(SIE_BASE_URL=url, SIE_MCP_EXTRACT_MODEL="finder")
    server = build_server(MCPConfig.from_env())
    async with create_connected_server_and_client_session(server) as session:
        offered = {tool.name for tool in (await session.list_tools()).tools}
        assert {"extract_entities", "redact_pii"} <= offered
        asked = {"content": "find me", "labels": ["person"]}
        found = await session.call_tool("extract_entities", asked)
        assert not found.isError, found
        assert "find me" in str(found.structuredContent)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
