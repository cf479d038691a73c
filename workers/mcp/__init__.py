"""A thread's MCP servers. The SDK is needed, and imported, by `connection` and what only that imports."""
