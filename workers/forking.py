"""How a thread goes on from a point of another one, or of itself."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from config.document import Document
from config.resolve import ThreadOverrides
from protocol.forks import ThreadForkParams
from protocol.link import Adopt
from protocol.rpc import RpcError
from protocol.threads import ThreadStartParams
from rollouts.entries import response_item, turn_aborted
from rollouts.errors import InvalidThreadId
from rollouts.fork import Cut, revert
from rollouts.ids import canonical_id
from rollouts.layout import Home
from rollouts.reader import read_history
from rollouts.writer import RolloutWriter
from workers.instructions import message
from workers.link import Link
from workers.loading import (
    existing,
    new_session_meta,
    refuse_unserved,
    resolve,
    start_session,
    take_history,
    take_settings,
    take_settings_and_history,
    with_history,
)
from workers.session import Session
from workers.turn_end import ABORTED

__all__ = ["fork_session", "fork_unused", "revert_session"]


def fork_session(adopt: Adopt, link: Link, document: Document, params: ThreadForkParams) -> Session:
    """A new thread that goes on from a point of a stored one, with its settings where the request has no others.

    Raises:
        ConfigError, RolloutError, OSError
        RpcError: the request asks for what cannot be together.
    """
    if params.before_turn_id is not None and params.last_turn_id is not None:
        raise RpcError("`beforeTurnId` cannot be combined with `lastTurnId`")
    refuse_unserved(params)
    home = Home(adopt.home, adopt.server)
    source = read_history(_source_path(home, params))
    legacy = source.mode == "legacy"
    if params.ephemeral and not params.exclude_turns and not legacy:
        raise RpcError("ephemeral paginated thread/fork requires `excludeTurns: true`")
    cut = Cut(source, last_turn_id=params.last_turn_id, before_turn_id=params.before_turn_id)
    overrides = with_history(ThreadOverrides.of(params), source)
    settings = resolve(adopt, document, overrides)
    copied = legacy or params.ephemeral
    base = None if copied else cut.base()
    now = time.time()
    meta = msgspec.structs.replace(
        new_session_meta(
            adopt,
            settings,
            now,
            history_mode=source.mode,
            thread_source=params.thread_source or source.meta.thread_source,
            dynamic_tools=source.meta.dynamic_tools,
        ),
        forked_from_id=source.meta.id,
        forked_from_ordinal_exclusive=base.end_ordinal_exclusive if base else None,
        history_base=base,
        originator=source.meta.originator or adopt.originator,
    )
    writer = RolloutWriter.create(
        Home(adopt.scratch if params.ephemeral else adopt.home, adopt.server), meta, created_at=now
    )
    try:
        writer.materialize()
        if copied:
            writer.copy(cut.lines())
        history = read_history(writer.path)
    except BaseException:
        writer.close()
        raise
    session = Session(adopt, link, settings, writer, ephemeral=params.ephemeral)
    take_settings_and_history(session, history, explicit=params)
    session.pursuit.goal = None  # it is the other thread's
    if history.context is None and source.context is not None:
        # Before its first turn: what held for the source holds.
        take_settings(session, source.context, explicit=params)
    session.recorded_model = None
    entries = session.stored_settings("")[1:]  # what holds for the fork; the other line belongs to a turn
    if cut.open_turn_id is not None:
        aborted = msgspec.json.encode(message("user", ABORTED))
        session.history.append(aborted)
        entries += [response_item(aborted), turn_aborted(cut.open_turn_id, completed_at=int(now))]
        session.turns[-1].status = "interrupted"
    session.store(entries)
    return session


def fork_unused(
    adopt: Adopt, link: Link, document: Document, params: ThreadForkParams, start: ThreadStartParams
) -> Session:
    """A fork of a thread without turns: another one that is started as that was, but for what the request says.

    Raises:
        ConfigError, RolloutError, OSError
    """
    refuse_unserved(params)
    wishes = {
        name: value
        for name in ThreadOverrides.__struct_fields__
        if (value := getattr(params, name, None)) is not None
    }
    session = start_session(adopt, link, document, msgspec.structs.replace(start, **wishes))
    session.writer.meta.forked_from_id = canonical_id(params.thread_id)
    session.materialize()  # a successor of this worker finds it
    return session


def revert_session(session: Session, before_turn_id: str) -> None:
    """Go back to before a turn: the thread goes on in a new file.

    Raises:
        TurnNotFound, RolloutDamaged, OSError
    """
    session.writer.sync()
    cut = Cut(read_history(session.writer.path), before_turn_id=before_turn_id)
    session.writer = revert(session.writer, Home(session.home), cut)
    session.store(session.stored_settings("")[1:])
    goal = session.pursuit.goal
    take_history(session, read_history(session.writer.path))
    session.pursuit.goal = goal
    session.pursuit.keep_again()


def _source_path(home: Home, params: ThreadForkParams) -> Path:
    if params.path is None:
        try:
            return home.find(canonical_id(params.thread_id))
        except InvalidThreadId as error:
            raise RpcError(f"invalid session id: {error}") from None
    return existing(params.path)
