"""A loaded thread as clients see it: in answers, and in notifications about the whole of it."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from protocol import threads as wire
from protocol.notifications import ThreadTokenUsage, TokenUsageUpdated
from protocol.session import PROTOCOL_VERSION
from protocol.turns import CollaborationMode, ModeSettings, Turn
from workers.session import Session

__all__ = ["environment_of", "full_turns", "mode_of", "opened", "tell_usage", "thread_of"]

Opened = TypeVar("Opened", bound=wire.ThreadStartResponse)


def thread_of(session: Session, *, turns: list[Turn] | None = None) -> wire.Thread:
    """Without turns unless some are given."""
    meta = session.writer.meta
    return wire.Thread(
        id=session.id,
        environments=[environment_of(session)],
        session_id=meta.session_id or session.id,
        forked_from_id=meta.forked_from_id,
        parent_thread_id=meta.parent_thread_id,
        preview=session.preview,
        ephemeral=session.ephemeral,
        history_mode=session.history_mode,
        model_provider=session.settings.provider.id,
        model=session.settings.model,
        reasoning_effort=session.settings.reasoning_effort,
        created_at=session.created_at,
        updated_at=session.updated_at,
        recency_at=session.updated_at,
        status=session.status,
        path=None if session.ephemeral else str(session.writer.path),
        cwd=session.settings.cwd,
        cli_version=PROTOCOL_VERSION,
        originator=session.originator,
        source=session.source,
        can_accept_direct_input=True,
        thread_source=meta.thread_source,
        git_info=session.note.git_info(session.git_info),
        name=session.name,
        daybreak_enabled=session.note.daybreak_enabled,
        turns=turns or [],
    )


def opened(session: Session, kind: type[Opened], *, turns: list[Turn] | None = None) -> Opened:
    """The answer to what loads a thread: `thread/start`, `thread/resume`, `thread/fork`."""
    settings = session.settings
    return kind(
        thread=thread_of(session, turns=turns),
        model=settings.model,
        model_provider=settings.provider.id,
        service_tier=settings.service_tier,
        cwd=settings.cwd,
        runtime_workspace_roots=settings.workspace_roots,
        instruction_sources=list(settings.instruction_sources),
        approval_policy=settings.approval_policy,
        approvals_reviewer=settings.approvals_reviewer,
        sandbox=settings.sandbox,
        active_permission_profile=settings.permission_profile,
        reasoning_effort=settings.reasoning_effort,
    )


def environment_of(session: Session) -> wire.Environment:
    """Where its commands run."""
    settings = session.settings
    return wire.Environment(
        environment_id="local", cwd=settings.cwd, runtime_workspace_roots=settings.workspace_roots
    )


def mode_of(session: Session) -> CollaborationMode:
    settings = session.settings
    return CollaborationMode(
        mode="plan" if session.plan_mode else "default",
        settings=ModeSettings(model=settings.model, reasoning_effort=settings.reasoning_effort),
    )


def tell_usage(session: Session, turn_id: str) -> None:
    """Tokens, after the turn's last response: all that the thread has used, and those of that response."""
    usage = ThreadTokenUsage(
        total=session.usage,
        last=session.last_usage,
        model_context_window=session.settings.model_info.usable_window,
    )
    session.notify(
        "thread/tokenUsage/updated",
        TokenUsageUpdated(thread_id=session.id, turn_id=turn_id, token_usage=usage),
    )


def full_turns(session: Session) -> list[Turn]:
    """Its turns, marked as having all their items."""
    return [msgspec.structs.replace(turn, items_view="full") for turn in session.turns]
