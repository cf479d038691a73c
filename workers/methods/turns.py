"""Starting, steering and interrupting the thread's turn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from protocol import rpc
from protocol.items import TextInput, UserInput
from protocol.turns import Turn, TurnInterruptResponse, TurnStartResponse, TurnSteerResponse
from workers.call import Call
from workers.turn import TurnRun

if TYPE_CHECKING:
    from workers.thread import ThreadService

MAX_INPUT_CHARS = 1_048_576
"""The peer's limit for the text of one input."""


async def start(service: ThreadService, call: Call) -> None:
    params = call.params
    session = service.loaded()
    _check_input(params.input)
    running = service.turn
    if running is not None and running.ending and running.task is not None:
        # Input for a turn that is being interrupted would be lost: it is for the next one.
        await asyncio.wait((running.task,))
        running = service.turn
    session.override(params)
    if running is not None:
        # As the peer: a turn/start while a turn runs steers it.
        call.reply(TurnStartResponse(turn=_fresh(running.id)))
        running.steer(params.input, params.client_user_message_id)
        return
    turn = TurnRun(
        session,
        service.access,
        service.toolbox,
        service.approvals,
        params.input,
        client_id=params.client_user_message_id,
        output_schema=params.output_schema,
    )
    call.accept_turn(session, turn.id, TurnStartResponse(turn=_fresh(turn.id)))
    service.run(turn)


async def steer(service: ThreadService, call: Call) -> None:
    params = call.params
    service.loaded()
    turn = service.turn
    if turn is None or turn.ending:
        raise rpc.RpcError("no active turn to steer")
    if params.expected_turn_id != turn.id:
        raise rpc.RpcError(f"expected active turn id `{params.expected_turn_id}` but found `{turn.id}`")
    if not params.input:
        raise rpc.RpcError("input must not be empty")
    _check_input(params.input)
    call.reply(TurnSteerResponse(turn_id=turn.id))
    turn.steer(params.input, params.client_user_message_id)


async def interrupt(service: ThreadService, call: Call) -> None:
    params = call.params
    service.loaded()
    turn = service.turn
    if turn is None or turn.over:
        raise rpc.RpcError("no active turn to interrupt")
    if params.turn_id and params.turn_id != turn.id:
        raise rpc.RpcError(f"expected active turn id {params.turn_id} but found {turn.id}")
    # The answer comes when the turn is over; other commands do not wait for that.
    turn.interrupt(lambda: call.reply(TurnInterruptResponse()))


def _fresh(turn_id: str) -> Turn:
    return Turn(id=turn_id, root_turn_id=turn_id, status="inProgress")


def _check_input(items: list[UserInput]) -> None:
    chars = sum(len(item.text) for item in items if isinstance(item, TextInput))
    if chars > MAX_INPUT_CHARS:
        raise rpc.RpcError(
            f"Input exceeds the maximum length of {MAX_INPUT_CHARS} characters.",
            rpc.INVALID_PARAMS,
            {"input_error_code": "input_too_large", "max_chars": MAX_INPUT_CHARS, "actual_chars": chars},
        )
