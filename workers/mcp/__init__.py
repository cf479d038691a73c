"""A thread's MCP servers. `connection`, `pipe` and `web` need the MCP SDK, which is imported only where there are servers."""
