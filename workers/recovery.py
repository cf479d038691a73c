"""What the next incarnation of a thread loads, by the request that loaded the thread at first."""

from __future__ import annotations

import msgspec

from protocol.forks import ThreadForkParams
from protocol.link import Adopt
from protocol.refusal import decode_params
from protocol.threads import ThreadResumeParams, ThreadStartParams

__all__ = ["Recovery"]

SHARED = tuple(
    name for name in ThreadResumeParams.__struct_fields__ if name in ThreadStartParams.__struct_fields__
)
"""What both a start and a resume may say of a thread."""


class Recovery(msgspec.Struct, frozen=True):
    resume: ThreadResumeParams
    """How its rollout is resumed."""
    start: ThreadStartParams | None = None
    """How it begins if there is no rollout, because nothing has happened in it."""
    ephemeral: bool = False

    @classmethod
    def of(cls, adopt: Adopt) -> Recovery:
        if adopt.recover_method == "thread/start":
            start = decode_params(adopt.recover, ThreadStartParams)
            return cls(_resume(adopt, start), start, bool(start.ephemeral))
        if adopt.recover_method == "thread/fork":
            fork = decode_params(adopt.recover, ThreadForkParams)
            return cls(_resume(adopt, fork), ephemeral=fork.ephemeral)
        return cls(decode_params(adopt.recover, ThreadResumeParams))


def _resume(adopt: Adopt, params: ThreadStartParams | ThreadForkParams) -> ThreadResumeParams:
    shared = {name: getattr(params, name) for name in SHARED if hasattr(params, name)}
    return ThreadResumeParams(thread_id=adopt.thread_id, **shared)
