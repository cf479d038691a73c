"""The methods of a loaded thread: name -> coroutine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from workers.call import Call
from workers.methods import control, forks, goals, history, mcp, receipts, reviews, threads, turns

if TYPE_CHECKING:
    from workers.thread import ThreadService

__all__ = ["METHODS", "ThreadMethod"]

ThreadMethod = Callable[["ThreadService", Call], Awaitable[None]]
"""Answers through the call. What it raises is the answer too: RpcError as it is, our other errors by their text."""

METHODS: dict[str, ThreadMethod] = {
    "thread/start": threads.start,
    "thread/resume": threads.resume,
    "thread/fork": forks.fork,
    "thread/revert": forks.revert,
    "thread/read": threads.read,
    "thread/turns/list": history.turns_list,
    "thread/items/list": history.items_list,
    "thread/items/read": history.items_read,
    "thread/readState/update": receipts.update,
    "turn/start": turns.start,
    "turn/steer": turns.steer,
    "turn/interrupt": turns.interrupt,
    "thread/goal/get": goals.read,
    "thread/goal/set": goals.change,
    "thread/goal/clear": goals.clear,
    "review/start": reviews.start,
    "thread/compact/start": control.compact,
    "thread/inject_items": control.inject_items,
    "thread/shellCommand": control.shell_command,
    "thread/settings/update": control.update_settings,
    "thread/backgroundTerminals/list": control.list_terminals,
    "thread/backgroundTerminals/clean": control.clean_terminals,
    "thread/backgroundTerminals/terminate": control.terminate_terminal,
    "mcpServerStatus/list": mcp.list_statuses,
    "mcpServer/resource/read": mcp.read_resource,
    "mcpServer/tool/call": mcp.call_tool,
}
