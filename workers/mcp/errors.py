"""What can go wrong with an MCP server. It concerns that server alone, and the text is for clients and models to read."""

from __future__ import annotations

__all__ = ["AuthorizationNeeded", "CallFailed", "McpServerError", "StartFailed", "UnknownServer"]


class McpServerError(Exception):
    pass


class StartFailed(McpServerError):
    """It cannot be started or reached, or does not answer as an MCP server does."""


class AuthorizationNeeded(StartFailed):
    """It wants a login first."""


class UnknownServer(McpServerError):
    def __init__(self, name: str) -> None:
        super().__init__(f"unknown MCP server '{name}'")


class CallFailed(McpServerError):
    """A request that got no result. `code`: of the server's own answer; None if there was none."""

    def __init__(self, text: str, code: int | None = None, message: str | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.message = text if message is None else message
        """As the server has worded it."""
