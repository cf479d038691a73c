"""Starting, steering and interrupting the thread's turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from protocol import rpc
from protocol.turns import Turn, TurnError, TurnInterruptResponse, TurnStartResponse, TurnSteerResponse
from protocol.user_input import ImageInput, TextInput, UserInput
from rollouts.entries import TurnOrigin
from workers.call import Call
from workers.model_turn import ModelTurn
from workers.overrides import override, tell_settings
from workers.turn import TurnRun, UnsteerableTurn

if TYPE_CHECKING:
    from workers.thread import ThreadService

MAX_INPUT_CHARS = 1_048_576
"""The peer's limit for the text of one input."""


async def start(service: ThreadService, call: Call) -> None:
    params = call.params
    session = service.loaded()
    _check_input(params.input)
    await service.refresh_skills()
    running = await service.turns.settled()
    if isinstance(running, UnsteerableTurn):
        kind = running.kind.capitalize()
        raise rpc.RpcError(
            f"failed to submit turn input: ActiveTurnNotSteerable {{ turn_kind: {kind} }}", rpc.INTERNAL_ERROR
        )
    if override(session, params):
        tell_settings(session)
    if isinstance(running, ModelTurn):
        # As the peer: a turn/start while a turn runs steers it.
        call.reply(TurnStartResponse(turn=_fresh(running)))
        running.steer(params.input, params.client_user_message_id)
        return
    turn = ModelTurn(
        session,
        service.access,
        service.toolbox,
        service.approvals,
        params.input,
        client_id=params.client_user_message_id,
        output_schema=params.output_schema,
        service_tier=params.service_tier_for_turn,
        origin=TurnOrigin(
            trigger=params.turn_trigger, parent=params.parent_turn_id, root=params.root_turn_id
        ),
    )
    call.accept_turn(session, turn.id, TurnStartResponse(turn=_fresh(turn)))
    service.turns.run(turn)


async def steer(service: ThreadService, call: Call) -> None:
    params = call.params
    service.loaded()
    turn = service.turns.current
    if turn is None or turn.ending:
        raise rpc.RpcError("no active turn to steer")
    if isinstance(turn, UnsteerableTurn):
        text = f"cannot steer a {turn.kind} turn"
        info = {"activeTurnNotSteerable": {"turnKind": turn.kind}}
        data = msgspec.to_builtins(TurnError(message=text, codex_error_info=info))
        raise rpc.RpcError(text, data=data)
    if params.expected_turn_id != turn.id:
        raise rpc.RpcError(f"expected active turn id `{params.expected_turn_id}` but found `{turn.id}`")
    if not params.input:
        raise rpc.RpcError("input must not be empty")
    _check_input(params.input)
    call.reply(TurnSteerResponse(turn_id=turn.id))
    assert isinstance(turn, ModelTurn)  # what is no other kind
    turn.steer(params.input, params.client_user_message_id)


async def interrupt(service: ThreadService, call: Call) -> None:
    params = call.params
    service.loaded()
    turn = service.turns.current
    if turn is None or turn.over:
        if not params.turn_id:
            # Whatever runs is to end, and nothing does.
            call.reply(TurnInterruptResponse())
            return
        raise rpc.RpcError("no active turn to interrupt")
    if params.turn_id and not turn.named(params.turn_id):
        raise rpc.RpcError(f"expected active turn id {params.turn_id} but found {turn.id}")
    # The answer comes when the turn is over; other commands do not wait for that.
    turn.interrupt(lambda: call.reply(TurnInterruptResponse()))


def _fresh(run: TurnRun) -> Turn:
    return Turn(id=run.id, root_turn_id=run.turn.root_turn_id, status="inProgress")


def _check_input(items: list[UserInput]) -> None:
    chars = sum(len(item.text) for item in items if isinstance(item, TextInput))
    if chars > MAX_INPUT_CHARS:
        raise rpc.RpcError(
            f"Input exceeds the maximum length of {MAX_INPUT_CHARS} characters.",
            rpc.INVALID_PARAMS,
            {"input_error_code": "input_too_large", "max_chars": MAX_INPUT_CHARS, "actual_chars": chars},
        )
    for item in items:
        if isinstance(item, ImageInput):
            if not isinstance(item.url, str) and not isinstance(item.file_id, str):
                raise rpc.RpcError(
                    "Invalid request: data did not match any variant of untagged enum ImageReference"
                )
            if isinstance(item.url, str) and not item.url.startswith("data:"):
                raise rpc.RpcError("remote image URLs are not supported; use an inline data URL instead")
