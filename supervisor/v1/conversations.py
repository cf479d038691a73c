"""The old methods about conversations, each by requests of today's protocol."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from config.models import find_model
from protocol.rpc import RpcError
from protocol.v1 import conversations as c
from protocol.v1.events import SessionConfigured
from rollouts.errors import InvalidThreadId
from rollouts.ids import canonical_id
from rollouts.layout import parse_name
from supervisor.connection import Connection
from supervisor.v1.adapter import Adapter
from supervisor.v1.conversation import Conversation, history

if TYPE_CHECKING:
    from supervisor.front import Front

NEITHER = "Invalid request: data did not match any variant of untagged enum GetConversationSummaryParams"
"""The peer's words for params that have neither a path nor the id of a conversation."""
LIST_SIZE = 25
"""Conversations in a page, unless the client says."""
ON_FAILURE = {
    "granular": {
        "sandbox_approval": True,
        "rules": True,
        "mcp_elicitations": True,
        "request_permissions": True,
        "skill_approval": True,
    }
}
"""What `on-failure` meant, which release 0.169 does not know any more: a command that the sandbox stopped is asked about."""


async def new(
    front: Front, connection: Connection, params: c.NewConversationParams
) -> c.NewConversationResponse:
    adapter = front.adapter(connection)
    started = await adapter.call("thread/start", _overrides(params))
    _keep(adapter, started)
    return c.NewConversationResponse(
        conversation_id=started["thread"]["id"],
        model=started["model"],
        reasoning_effort=started["reasoningEffort"],
        rollout_path=started["thread"]["path"],
    )


async def resume(
    front: Front, connection: Connection, params: c.ResumeConversationParams
) -> c.ResumeConversationResponse:
    adapter = front.adapter(connection)
    wanted: dict[str, Any] = _overrides(params.overrides or c.NewConversationParams())
    if params.history is not None:
        raise RpcError("resuming a conversation from a history is not supported; give its rollout's path")
    if params.path is not None:
        wanted["threadId"] = await asyncio.to_thread(_id_of_rollout, params.path)
    elif params.conversation_id is not None:
        wanted["threadId"] = params.conversation_id
    else:
        raise RpcError("either path, conversation id or non empty history must be provided")
    resumed = await adapter.call("thread/resume", wanted)
    _keep(adapter, resumed)
    thread = resumed["thread"]
    messages = history(thread["turns"])
    connection.notify(
        "sessionConfigured",
        SessionConfigured(
            session_id=thread["id"],
            model=resumed["model"],
            reasoning_effort=resumed["reasoningEffort"],
            initial_messages=messages,
            rollout_path=thread["path"],
        ),
    )
    return c.ResumeConversationResponse(
        conversation_id=thread["id"],
        model=resumed["model"],
        initial_messages=messages,
        rollout_path=thread["path"],
    )


async def list_(
    front: Front, connection: Connection, params: c.ListConversationsParams
) -> c.ListConversationsResponse:
    asked = {
        "limit": params.page_size or LIST_SIZE,
        "cursor": params.cursor,
        "modelProviders": params.model_providers,
    }
    page = await front.adapter(connection).call("thread/list", asked)
    return c.ListConversationsResponse(
        items=[_summary(thread) for thread in page["data"]], next_cursor=page["nextCursor"]
    )


async def archive(front: Front, connection: Connection, params: c.ArchiveConversationParams) -> c.Empty:
    await front.adapter(connection).call("thread/archive", {"threadId": params.conversation_id})
    return c.Empty()


async def summary(
    front: Front, connection: Connection, params: c.GetConversationSummaryParams
) -> c.GetConversationSummaryResponse:
    if params.rollout_path is not None:
        path = os.path.join(front.home, params.rollout_path)
        thread_id = await asyncio.to_thread(_id_of_rollout, path)
    else:
        try:
            thread_id = canonical_id(params.conversation_id or "")
        except InvalidThreadId:
            raise RpcError(NEITHER) from None
    read = await front.adapter(connection).call("thread/read", {"threadId": thread_id})
    return c.GetConversationSummaryResponse(summary=_summary(read["thread"]))


async def add_listener(
    front: Front, connection: Connection, params: c.AddConversationListenerParams
) -> c.AddConversationSubscriptionResponse:
    adapter = front.adapter(connection)
    conversation = adapter.conversation(params.conversation_id)
    subscription = str(uuid4())
    adapter.listening[subscription] = conversation.id
    return c.AddConversationSubscriptionResponse(subscription_id=subscription)


async def remove_listener(
    front: Front, connection: Connection, params: c.RemoveConversationListenerParams
) -> c.Empty:
    if front.adapter(connection).listening.pop(params.subscription_id, None) is None:
        raise RpcError(f"subscription not found: {params.subscription_id}")
    return c.Empty()


async def send_message(front: Front, connection: Connection, params: c.SendUserMessageParams) -> c.Empty:
    adapter = front.adapter(connection)
    await _turn(adapter, params.conversation_id, params.items, {})
    return c.Empty()


async def send_turn(front: Front, connection: Connection, params: c.SendUserTurnParams) -> c.Empty:
    adapter = front.adapter(connection)
    overrides = {
        "cwd": params.cwd,
        "approvalPolicy": _approval(params.approval_policy),
        "sandboxPolicy": policy(params.sandbox_policy),
        "model": params.model,
        "effort": params.effort,
        "summary": params.summary,
    }
    await _turn(adapter, params.conversation_id, params.items, overrides)
    return c.Empty()


async def interrupt(
    front: Front, connection: Connection, params: c.InterruptConversationParams
) -> c.InterruptConversationResponse:
    adapter = front.adapter(connection)
    conversation = adapter.conversation(params.conversation_id)
    if conversation.turn_id is None:
        raise RpcError("no active turn to interrupt")
    # By its id: without one, a thread in which nothing runs has no objection, and the end would never come.
    end = conversation.end()
    await adapter.call("turn/interrupt", {"threadId": conversation.id, "turnId": conversation.turn_id})
    conversation.submit()
    await end  # the answer comes after the event
    return c.InterruptConversationResponse(abort_reason="interrupted")


def policy(old: c.OldSandboxPolicy) -> dict[str, Any]:
    """A sandbox policy in today's spelling."""
    if isinstance(old, c.OldFullAccess):
        return {"type": "dangerFullAccess"}
    if isinstance(old, c.OldReadOnly):
        return {"type": "readOnly"}
    return {
        "type": "workspaceWrite",
        "writableRoots": old.writable_roots,
        "networkAccess": old.network_access,
        "excludeTmpdirEnvVar": old.exclude_tmpdir_env_var,
        "excludeSlashTmp": old.exclude_slash_tmp,
    }


async def _turn(
    adapter: Adapter, conversation_id: str, items: list[c.InputItem], overrides: dict[str, Any]
) -> None:
    conversation = adapter.conversation(conversation_id)
    conversation.submit()
    asked = {"threadId": conversation.id, "input": [_input(item) for item in items], **overrides}
    started = await adapter.call("turn/start", asked)
    conversation.turn_id = started["turn"]["id"]


def _input(item: c.InputItem) -> dict[str, Any]:
    if isinstance(item, c.TextItem):
        return {"type": "text", "text": item.data.text}
    if isinstance(item, c.ImageItem):
        return {"type": "image", "url": item.data.image_url}
    return {"type": "localImage", "path": item.data.path}


def _approval(policy: c.Policy | None) -> Any:
    return ON_FAILURE if policy == "on-failure" else policy


def _overrides(params: c.NewConversationParams) -> dict[str, Any]:
    if params.profile is not None:
        raise RpcError("a profile is chosen when the server starts: bulkhead app-server --profile NAME")
    given = {
        "model": params.model,
        "modelProvider": params.model_provider,
        "cwd": params.cwd,
        "approvalPolicy": _approval(params.approval_policy),
        "sandbox": params.sandbox,
        "config": params.config,
        "baseInstructions": params.base_instructions,
        "developerInstructions": params.developer_instructions,
    }
    return {key: value for key, value in given.items() if value is not None}


def _keep(adapter: Adapter, loaded: dict[str, Any]) -> None:
    """Know the conversation from now on; resuming one that is known begins no new count."""
    thread_id = loaded["thread"]["id"]
    if thread_id not in adapter.conversations:
        window = find_model(loaded["model"]).usable_window
        adapter.conversations[thread_id] = Conversation(thread_id, window)


def _id_of_rollout(path: str) -> str:
    if not os.path.isfile(path):
        problem = "path is a directory" if os.path.isdir(path) else "file does not exist"
        raise RpcError(f"failed to resolve rollout path `{path}`: {problem}")
    name = parse_name(os.path.basename(path))
    if name is None:
        raise RpcError(f"{path} is not named like a rollout")
    return name.thread_id


def _spelled(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _summary(thread: dict[str, Any]) -> c.ConversationSummary:
    git = thread["gitInfo"]
    return c.ConversationSummary(
        conversation_id=thread["id"],
        path=thread["path"] or "",
        preview=thread["preview"],
        timestamp=_spelled(thread["createdAt"]),
        updated_at=_spelled(thread["updatedAt"]),
        model_provider=thread["modelProvider"],
        cwd=thread["cwd"],
        cli_version=thread["cliVersion"],
        source=thread["source"],
        git_info=None
        if git is None
        else c.ConversationGitInfo(
            sha=git.get("sha"), branch=git.get("branch"), origin_url=git.get("originUrl")
        ),
    )
