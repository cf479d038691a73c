"""How a session comes to be: a new thread, or a stored one with the settings it had."""

from __future__ import annotations

import os
import time
from typing import Any

import msgspec

from config.document import Document
from config.resolve import ThreadOverrides, ThreadSettings, resolve_thread
from protocol import threads as wire
from protocol.link import Adopt
from protocol.notifications import TokenUsage
from protocol.session import PROTOCOL_VERSION
from rollouts.entries import new_meta
from rollouts.layout import Home, parse_name
from rollouts.lines import TokenUsage as StoredUsage
from rollouts.policy import approval_of, sandbox_of
from rollouts.reader import History, read_history
from rollouts.writer import RolloutWriter
from workers.instructions import base_instructions
from workers.link import Link
from workers.session import Session

__all__ = ["resume_session", "start_session"]


def start_session(adopt: Adopt, link: Link, document: Document, params: wire.ThreadStartParams) -> Session:
    """A new thread.

    Raises:
        ConfigError: the settings do not allow it, e.g. an unknown provider.
        RolloutError, OSError: it cannot be stored.
    """
    settings = _resolve(adopt, document, ThreadOverrides.of(params))
    ephemeral = bool(params.ephemeral)
    # An ephemeral thread survives its worker all the same; only not the server.
    home = Home(adopt.scratch if ephemeral else adopt.home, adopt.server)
    now = time.time()
    writer = RolloutWriter.create(home, _meta(adopt, settings, now), created_at=now)
    session = Session(adopt, link, settings, writer, ephemeral=ephemeral)
    session.created_at = session.updated_at = int(now)
    return session


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
    home = Home(adopt.scratch if ephemeral else adopt.home, adopt.server)
    writer = RolloutWriter.resume(home, adopt.thread_id)
    try:
        history = read_history(writer.path)
        if recovering and history.context is not None:
            params = msgspec.structs.replace(params, cwd=None, model=None, sandbox=None, approval_policy=None)
        overrides = _with_history(ThreadOverrides.of(params), history)
        settings = _resolve(adopt, document, overrides)
    except BaseException:
        writer.close()
        raise
    session = Session(adopt, link, settings, writer, ephemeral=ephemeral)
    _take(session, history, explicit=params)
    return session


def _take(session: Session, history: History, explicit: wire.ThreadResumeParams) -> None:
    session.history = history.input_items
    session.turns = history.turns
    session.preview = history.preview
    session.history_mode = history.mode
    session.originator = history.meta.originator or session.originator
    if history.tokens is not None:
        session.usage = _wire_usage(history.tokens.total_token_usage)
        session.last_usage = _wire_usage(history.tokens.last_token_usage)
    context = history.context
    if context is not None:
        session.recorded_model = context.model or None
        sandbox = sandbox_of(context.sandbox_policy) if explicit.sandbox is None else None
        approval = approval_of(context.approval_policy) if explicit.approval_policy is None else None
        mode = context.collaboration_mode
        session.plan_mode = isinstance(mode, dict) and mode.get("mode") == "plan"
        changes: dict[str, Any] = {}
        if sandbox is not None:
            changes["sandbox"] = sandbox
        if approval is not None:
            changes["approval_policy"] = approval
        if context.effort is not None:
            changes["reasoning_effort"] = context.effort
        session.settings = msgspec.structs.replace(session.settings, **changes)
    name = parse_name(session.writer.path.name)
    if name is not None:
        session.created_at = int(name.created_at)
    session.updated_at = int(os.stat(session.writer.path).st_mtime)
    session.remember_telling()


def _resolve(adopt: Adopt, document: Document, overrides: ThreadOverrides) -> ThreadSettings:
    return resolve_thread(document, overrides, home=adopt.home, server_cwd=os.getcwd(), environ=os.environ)


def _meta(adopt: Adopt, settings: ThreadSettings, created_at: float) -> Any:
    return new_meta(
        adopt.thread_id,
        created_at=created_at,
        cwd=settings.cwd,
        originator=adopt.originator,
        cli_version=PROTOCOL_VERSION,
        model_provider=settings.provider.id,
        model=settings.model,
        base_instructions=settings.base_instructions or base_instructions(),
    )


def _with_history(overrides: ThreadOverrides, history: History) -> ThreadOverrides:
    """What the request leaves open is as it was at the thread's last turn."""
    context = history.context
    changes: dict[str, Any] = {}
    if overrides.cwd is None:
        changes["cwd"] = (context.cwd if context and context.cwd else history.meta.cwd) or None
    if overrides.model is None and context is not None and context.model:
        changes["model"] = context.model
    if overrides.model_provider is None and history.meta.model_provider:
        changes["model_provider"] = history.meta.model_provider
    return msgspec.structs.replace(overrides, **changes) if changes else overrides


def _wire_usage(stored: StoredUsage) -> TokenUsage:
    return TokenUsage(**{name: getattr(stored, name) for name in stored.__struct_fields__})
