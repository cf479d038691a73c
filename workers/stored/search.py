"""Threads found by what was said in them."""

from __future__ import annotations

from protocol.base import Wire
from protocol.thread_list import ThreadSearchParams
from protocol.threads import ThreadStatus
from workers.stored.request import StoredRequest

__all__ = ["search"]


def search(request: StoredRequest) -> Wire:
    return request.threads.search(
        request.params(ThreadSearchParams), request.context(dict[str, ThreadStatus])
    )
