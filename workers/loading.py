"""How a session comes to be: a new thread, or a stored one with the settings it had."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import msgspec

from config.document import Document
from config.errors import ProviderNotFoundError
from config.resolve import ThreadOverrides, ThreadSettings, resolve_thread
from protocol import threads as wire
from protocol.client_tools import DynamicTool
from protocol.forks import ThreadForkParams
from protocol.link import Adopt
from protocol.notifications import TokenUsage
from protocol.rpc import RpcError
from protocol.session import PROTOCOL_VERSION
from rollouts.entries import new_meta, response_item
from rollouts.heads import wire_git, wire_source
from rollouts.layout import Home, parse_name
from rollouts.lines import SessionMeta, TurnContext
from rollouts.lines import TokenUsage as StoredUsage
from rollouts.notes import Note, Notes
from rollouts.policy import approval_of, sandbox_of
from rollouts.prompt import first_words
from rollouts.reader import History, read_history
from rollouts.writer import RolloutWriter
from workers.instructions import base_instructions
from workers.link import Link
from workers.session import Session

__all__ = [
    "begin_from_items",
    "existing",
    "new_session_meta",
    "refuse_unserved",
    "resolve",
    "resume_session",
    "start_session",
    "take_history",
    "take_settings_and_history",
    "with_history",
]

OTHER_PROVIDER = (
    "failed to load configuration: Cannot change this thread's model provider from `{}` to `{}` on resume."
)
"""What one provider's models have sent, such as encrypted reasoning, another one's refuse."""
LOST_PROVIDER = (
    "This chat uses model provider \u201c{}\u201d, which is no longer configured. "
    "Restore this provider\u2019s configuration to continue."
)
_UNSERVED = (
    "attach_to_source",
    "environments",
    "experimental_prediction_mode",
    "runtime_workspace_roots",
    "selected_capability_roots",
)


def start_session(adopt: Adopt, link: Link, document: Document, params: wire.ThreadStartParams) -> Session:
    """A new thread.

    Raises:
        ConfigError: the settings do not allow it, e.g. an unknown provider.
        RolloutError, OSError: it cannot be stored.
    """
    refuse_unserved(params)
    if params.ephemeral and params.daybreak_enabled is not None:
        raise RpcError("daybreakEnabled is not supported for ephemeral threads")
    settings = resolve(adopt, document, ThreadOverrides.of(params))
    ephemeral = bool(params.ephemeral)
    # An ephemeral thread survives its worker all the same; only not the server.
    home = Home(adopt.scratch if ephemeral else adopt.home, adopt.server)
    now = time.time()
    meta = new_session_meta(
        adopt,
        settings,
        now,
        history_mode=params.history_mode or "paginated",
        thread_source=params.thread_source,
        dynamic_tools=params.dynamic_tools or None,
    )
    writer = RolloutWriter.create(home, meta, created_at=now)
    session = Session(adopt, link, settings, writer, ephemeral=ephemeral)
    session.created_at = session.updated_at = int(now)
    if params.daybreak_enabled is not None:
        Notes(home).put(session.id, Note(daybreak_enabled=params.daybreak_enabled))
    session.dynamic_tools = params.dynamic_tools or ()
    return session


def begin_from_items(
    adopt: Adopt, link: Link, document: Document, params: wire.ThreadResumeParams
) -> Session:
    """A new thread that begins with model items which the client brings.

    Raises:
        ConfigError, RolloutError, OSError
    """
    if not params.history:
        raise RpcError("history must not be empty")
    shared = {
        name: getattr(params, name)
        for name in wire.ThreadStartParams.__struct_fields__
        if name in wire.ThreadResumeParams.__struct_fields__
    }
    session = start_session(adopt, link, document, wire.ThreadStartParams(**shared))
    items = [bytes(item) for item in params.history or ()]
    session.history = items
    session.store([*map(response_item, items), *session.stored_settings("")[1:]])
    session.preview = first_words(items)
    return session


def refuse_unserved(params: wire.ThreadOpening) -> None:
    """What the peer has and this server does not is refused, not passed over: the client counts on it."""
    for name in _UNSERVED:
        if getattr(params, name, None):
            field = next(f for f in msgspec.structs.fields(params) if f.name == name)
            raise RpcError(f"{field.encode_name} is not supported by this server")
    project = getattr(params, "project_id", None)
    if project is not None:
        raise RpcError(f"project not found: {project}" if project else "projectId must not be empty")
    if params.permissions is not None and params.sandbox is not None:
        raise RpcError("`permissions` cannot be combined with `sandbox`")


def existing(path: str) -> Path:
    if not os.path.isfile(path):
        raise RpcError(f"failed to resolve rollout path `{path}`: file does not exist")
    return Path(path)


def resume_session(
    adopt: Adopt,
    link: Link,
    document: Document,
    params: wire.ThreadResumeParams,
    *,
    ephemeral: bool = False,
    recovering: bool = False,
) -> Session:
    """A stored thread, with the settings of its last turn where the request and the file say nothing else.

    `recovering`: `params` are those that loaded the thread once; what later turns changed is newer.

    Raises:
        ConfigError, RolloutError, OSError
    """
    refuse_unserved(params)
    home = Home(adopt.scratch if ephemeral else adopt.home, adopt.server)
    if params.path is not None and not recovering:
        writer = RolloutWriter.resume_path(existing(params.path), adopt.thread_id)
    else:
        writer = RolloutWriter.resume(home, adopt.thread_id)
    try:
        history = read_history(writer.path)
        if recovering and history.context is not None:
            kept = dict.fromkeys(("cwd", "model", "sandbox", "permissions", "approval_policy"))
            params = msgspec.structs.replace(params, **kept)
        overrides = with_history(ThreadOverrides.of(params), history)
        settings = resolve(adopt, document, overrides)
        stored = history.meta.model_provider
        if stored and settings.provider.id != stored and not recovering:
            raise RpcError(OTHER_PROVIDER.format(stored, settings.provider.id))
    except ProviderNotFoundError as error:
        writer.close()
        gone = {"type": "modelProviderNotConfigured", "modelProvider": error.name}
        raise RpcError(LOST_PROVIDER.format(error.name), data=gone) from None
    except BaseException:
        writer.close()
        raise
    session = Session(adopt, link, settings, writer, ephemeral=ephemeral)
    take_settings_and_history(session, history, explicit=params)
    return session


def take_history(session: Session, history: History) -> None:
    session.history = history.input_items
    session.turns = history.turns
    session.positions = history.positions
    session.preview = history.preview or session.preview
    session.pursuit.goal = history.goal
    session.history_mode = history.mode
    tokens = history.tokens
    session.usage = _wire_usage(tokens.total_token_usage) if tokens else TokenUsage()
    session.last_usage = _wire_usage(tokens.last_token_usage) if tokens else TokenUsage()
    name = parse_name(session.writer.path.name)
    if name is not None:
        session.created_at = int(name.created_at)
    session.updated_at = int(os.stat(session.writer.path).st_mtime)
    session.briefing.all_told()


def take_settings_and_history(
    session: Session, history: History, explicit: wire.ThreadResumeParams | ThreadForkParams
) -> None:
    meta = history.meta
    session.originator = meta.originator or session.originator
    session.source, session.git_info = wire_source(meta.source), wire_git(meta.git)
    session.dynamic_tools = _stored_tools(session.writer.meta)
    if history.context is not None:
        take_settings(session, history.context, explicit=explicit)
    take_history(session, history)


def take_settings(
    session: Session, context: TurnContext, explicit: wire.ThreadResumeParams | ThreadForkParams
) -> None:
    """As they were at a turn, where the request says nothing else."""
    session.recorded_model = context.model or None
    sandbox = (
        sandbox_of(context.sandbox_policy)
        if explicit.sandbox is None and explicit.permissions is None
        else None
    )
    approval = approval_of(context.approval_policy) if explicit.approval_policy is None else None
    mode = context.collaboration_mode
    session.plan_mode = isinstance(mode, dict) and mode.get("mode") == "plan"
    changes: dict[str, Any] = {}
    if sandbox is not None:
        changes |= {"sandbox": sandbox, "permission_profile": _profile(context.active_permission_profile)}
    if approval is not None:
        changes["approval_policy"] = approval
    if context.effort is not None and not chooses_model(explicit):
        changes["reasoning_effort"] = context.effort
    # "default" is how the peer stores that nobody has chosen one.
    if explicit.service_tier is None and context.service_tier not in (None, "default"):
        changes["service_tier"] = context.service_tier
    session.settings = msgspec.structs.replace(session.settings, **changes)


def resolve(adopt: Adopt, document: Document, overrides: ThreadOverrides) -> ThreadSettings:
    return resolve_thread(document, overrides, home=adopt.home, server_cwd=os.getcwd(), environ=os.environ)


def new_session_meta(
    adopt: Adopt,
    settings: ThreadSettings,
    created_at: float,
    *,
    history_mode: wire.HistoryMode,
    thread_source: str | None,
    dynamic_tools: Any = None,
) -> SessionMeta:
    return new_meta(
        adopt.thread_id,
        created_at=created_at,
        cwd=settings.cwd,
        roots=settings.workspace_roots,
        originator=adopt.originator,
        cli_version=PROTOCOL_VERSION,
        model_provider=settings.provider.id,
        model=settings.model,
        base_instructions=settings.base_instructions or base_instructions(),
        custom_instructions=settings.base_instructions is not None,
        history_mode=history_mode,
        thread_source=thread_source,
        dynamic_tools=dynamic_tools,
    )


def with_history(overrides: ThreadOverrides, history: History) -> ThreadOverrides:
    """What the request leaves open is as it was at the thread's last turn."""
    context = history.context
    changes: dict[str, Any] = {}
    if overrides.cwd is None:
        changes["cwd"] = (context.cwd if context and context.cwd else history.meta.cwd) or None
    if context is not None and context.model and not chooses_model(overrides):
        changes["model"] = context.model
    if overrides.model_provider is None and history.meta.model_provider:
        changes["model_provider"] = history.meta.model_provider
    if overrides.base_instructions is None and (text := _custom_instructions(history.meta)) is not None:
        changes["base_instructions"] = text
    return msgspec.structs.replace(overrides, **changes) if changes else overrides


def chooses_model(asked: ThreadOverrides | wire.ThreadResumeParams | ThreadForkParams) -> bool:
    """Whether a request says anything of the model or its effort; those of the last turn do not count then."""
    if asked.model is not None or asked.model_provider is not None:
        return True
    return not {"model", "model_provider", "model_reasoning_effort"}.isdisjoint(asked.config or ())


def _profile(stored: Any) -> wire.PermissionProfile | None:
    name = stored.get("id") if isinstance(stored, dict) else None
    return wire.PermissionProfile(id=name) if isinstance(name, str) else None


def _custom_instructions(meta: SessionMeta) -> str | None:
    """Base instructions that a client gave the thread; those of a model are the program's that runs it."""
    stored = meta.base_instructions
    if not isinstance(stored, dict) or stored.get("provenance") != {"type": "custom"}:
        return None
    text = stored.get("text")
    return text if isinstance(text, str) else None


def _stored_tools(meta: SessionMeta) -> list[DynamicTool]:
    """The client's tools; none where they are not understood, as the conversation is worth more than they are."""
    try:
        return msgspec.convert(meta.dynamic_tools or [], list[DynamicTool])
    except msgspec.ValidationError:
        return []


def _wire_usage(stored: StoredUsage) -> TokenUsage:
    return TokenUsage(**{name: getattr(stored, name) for name in stored.__struct_fields__})
