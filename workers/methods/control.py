"""What clients do to a loaded thread beside its turns: settings, compaction, items, commands of the user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protocol import control as wire
from protocol import rpc
from protocol.refusal import describe
from rollouts.prompt import is_call_or_output
from workers.call import Call
from workers.compact_turn import CompactTurn
from workers.model_turn import ShellTurn
from workers.overrides import override, tell_settings

if TYPE_CHECKING:
    from workers.thread import ThreadService

CONTENTS = ("input_text", "input_image", "input_audio", "output_text")
KINDS = frozenset(
    ("message", "reasoning", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output",
     "local_shell_call", "web_search_call", "image_generation_call", "compaction")
)  # fmt: skip
DEFAULT_PAGE = 100
"""Terminals in a page; a thread holds no more than 64."""


async def compact(service: ThreadService, call: Call) -> None:
    session = service.loaded()
    await service.turns.make_way()
    turn = CompactTurn(session, service.access, service.toolbox, service.approvals)
    call.accept_turn(session, turn.id, wire.ThreadCompactStartResponse())
    service.turns.run(turn)


async def inject_items(service: ThreadService, call: Call) -> None:
    session = service.loaded()
    items = call.params.items
    if not items:
        raise rpc.RpcError("items must not be empty")
    for index, item in enumerate(items):
        if (problem := _problem(item)) is not None:
            raise rpc.RpcError(f"items[{index}] is not a valid response item: {problem}")
    if not session.history:
        session.briefing.give()
    session.calls_injected = session.calls_injected or any(is_call_or_output(item["type"]) for item in items)
    # An item of a kind that no model knows would make every later request invalid.
    session.remember(*(item for item in items if item["type"] in KINDS))
    call.reply(wire.ThreadInjectItemsResponse())


def _problem(item: Any) -> str | None:
    if not isinstance(item, dict):
        return f"invalid type: {describe(item)}, expected internally tagged enum ResponseItem"
    if not isinstance(item.get("type"), str):
        return "missing field `type`"
    if item["type"] != "message":
        return None
    if (missing := next((name for name in ("role", "content") if name not in item), None)) is not None:
        return f"missing field `{missing}`"
    if not isinstance(item["role"], str):
        return f"invalid type: {describe(item['role'])}, expected a string"
    if not isinstance(item["content"], list):
        return f"invalid type: {describe(item['content'])}, expected a sequence"
    for part in item["content"]:
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            return f"invalid type: {describe(part)}, expected internally tagged enum ContentItem"
        if part["type"] not in CONTENTS:
            expected = ", ".join(f"`{kind}`" for kind in CONTENTS)
            return f"unknown variant `{part['type']}`, expected one of {expected}"
    return None


async def shell_command(service: ThreadService, call: Call) -> None:
    session = service.loaded()
    params = call.params
    command = params.command.strip()
    if not command:
        raise rpc.RpcError("command must not be empty")
    running = await service.turns.settled()
    if running is not None:
        call.reply(wire.ThreadShellCommandResponse())
        running.shell.start(command, params.timeout_ms)
        return
    turn = ShellTurn(
        session,
        service.access,
        service.toolbox,
        service.approvals,
        command=command,
        timeout_ms=params.timeout_ms,
    )
    call.accept_turn(session, turn.id, wire.ThreadShellCommandResponse())
    service.turns.run(turn)


async def update_settings(service: ThreadService, call: Call) -> None:
    session = service.loaded()
    changed = override(session, call.params)
    call.reply(wire.ThreadSettingsUpdateResponse())
    if changed:
        tell_settings(session)


async def list_terminals(service: ThreadService, call: Call) -> None:
    service.loaded()
    params = call.params
    running = service.toolbox.terminals.background()
    if params.cursor is not None:
        after = _number(params.cursor, "invalid cursor")
        running = running[next((i + 1 for i, t in enumerate(running) if t.number == after), len(running)) :]
    limit = max(1, params.limit) if params.limit is not None else DEFAULT_PAGE
    page = running[:limit]
    data = [
        wire.ThreadBackgroundTerminal(
            item_id=terminal.item.id,
            process_id=str(terminal.number),
            command=terminal.script,
            cwd=terminal.item.cwd,
        )
        for terminal in page
    ]
    more = str(page[-1].number) if len(running) > limit else None
    call.reply(wire.ThreadBackgroundTerminalsListResponse(data=data, next_cursor=more))


async def clean_terminals(service: ThreadService, call: Call) -> None:
    service.loaded()
    call.reply(wire.ThreadBackgroundTerminalsCleanResponse())
    await service.toolbox.terminals.end_background()


async def terminate_terminal(service: ThreadService, call: Call) -> None:
    service.loaded()
    number = _number(call.params.process_id, "invalid background terminal process id")
    terminal = service.toolbox.terminals.get(number)
    call.reply(wire.ThreadBackgroundTerminalsTerminateResponse(terminated=terminal is not None))
    if terminal is not None:
        await service.toolbox.terminals.end_one(terminal)


def _number(text: str, what: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise rpc.RpcError(f"{what}: invalid digit found in string")
    return int(text)
