"""Which thread a request is about."""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from protocol import rpc
from protocol.methods import Method
from protocol.refusal import decode_params
from rollouts.errors import InvalidThreadId
from rollouts.ids import canonical_id, new_id
from rollouts.layout import parse_name
from supervisor.loaded import LoadedThread

__all__ = ["Key", "as_canonical", "key_of", "names_thread", "thread_of"]

_SESSION_METHODS = frozenset({"thread/resume", "thread/fork"})


class Key(msgspec.Struct, rename="camel", frozen=True):
    """All that the front reads of such a request; the rest may be megabytes and is the worker's to decode."""

    thread_id: str
    path: str | None = None
    history: msgspec.Raw = rpc.NULL


def key_of(request: rpc.ClientRequest) -> Key:
    """:raises RpcError: there is none."""
    return decode_params(request.params, Key)


class _MaybeKey(msgspec.Struct, rename="camel", frozen=True):
    thread_id: msgspec.Raw = rpc.NULL


def names_thread(request: rpc.ClientRequest) -> bool:
    """Whether a request whose `threadId` may be absent has one, right or wrong."""
    try:
        return msgspec.json.decode(request.params or b"{}", type=_MaybeKey).thread_id != rpc.NULL
    except msgspec.MsgspecError:
        return False


def thread_of(key: Key, row: Method, threads: Mapping[str, LoadedThread], *, experimental: bool) -> str:
    """The canonical id of the thread; a new one where there is to be a new thread.

    Raises:
        RpcError: there is no such thing, or the thread is in use otherwise.
    """
    if key.thread_id in threads and key.path is None and key.history == rpc.NULL:
        return key.thread_id
    if row.name != "thread/resume" or not experimental:  # then these are refused, or nothing to it
        return _id(key.thread_id, row)
    thread = threads.get(as_canonical(key.thread_id))
    if key.history != rpc.NULL:
        if thread is not None:
            raise rpc.RpcError(f"cannot resume thread {thread.id} with history while it is already running")
        return new_id()
    if key.path is None:
        return _id(key.thread_id, row)
    if thread is not None:
        if key.path != thread.facts.path:
            raise rpc.RpcError(
                f"cannot resume running thread {thread.id} with stale path: "
                f"requested `{key.path}`, active `{thread.facts.path}`"
            )
        return thread.id
    name = parse_name(os.path.basename(key.path))
    if name is None:
        missing = "its name is not that of a rollout" if os.path.isfile(key.path) else "file does not exist"
        raise rpc.RpcError(f"failed to resolve rollout path `{key.path}`: {missing}")
    return name.thread_id


def as_canonical(text: str) -> str:
    """An id in its one form; what is none stays as it is."""
    try:
        return canonical_id(text)
    except InvalidThreadId:
        return text


def _id(text: str, row: Method) -> str:
    try:
        return canonical_id(text)
    except InvalidThreadId as error:
        what = "session" if row.name in _SESSION_METHODS else "thread"
        raise rpc.RpcError(f"invalid {what} id: {error}") from None
