"""`[mcp_servers]`: read, shown, and not run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from config.document import Document

__all__ = ["NOT_RUN", "http_origin", "mcp_servers_of"]

NOT_RUN = "MCP servers are not run by this server: their tools are not offered to models"
"""What every method and warning about them says; docs/configuration.md has the reasons."""


def mcp_servers_of(document: Document) -> dict[str, Mapping[str, Any]]:
    """By name. What is no table is left out: it is nothing that could be run anywhere."""
    tables = document.merged().get("mcp_servers")
    if not isinstance(tables, dict):
        return {}
    return {name: table for name, table in tables.items() if isinstance(table, dict)}


def http_origin(server: Mapping[str, Any]) -> str | None:
    """Scheme, host and port of a server that has a URL."""
    url = server.get("url")
    if not isinstance(url, str):
        return None
    try:
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
        return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "") if host else None
    except ValueError:
        return None
