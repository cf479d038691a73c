"""What a command is seen to do, so that clients can say "read x" instead of showing a script."""

from __future__ import annotations

from protocol.base import Wire

__all__ = [
    "CommandAction",
    "ListFilesAction",
    "ReadAction",
    "SearchAction",
    "UnknownAction",
]


class ReadAction(Wire, kw_only=True, tag_field="type", tag="read"):
    command: str
    name: str
    path: str


class ListFilesAction(Wire, kw_only=True, tag_field="type", tag="listFiles"):
    command: str
    path: str | None = None


class SearchAction(Wire, kw_only=True, tag_field="type", tag="search"):
    command: str
    query: str | None = None
    path: str | None = None


class UnknownAction(Wire, kw_only=True, tag_field="type", tag="unknown"):
    command: str


CommandAction = ReadAction | ListFilesAction | SearchAction | UnknownAction
