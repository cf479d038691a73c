"""The bases of all wire structs: how a field is named, and what becomes of an absent one."""

from __future__ import annotations

import msgspec

__all__ = ["UNSET", "Absent", "NoParams", "OptionalParams", "Params", "Wire"]

UNSET = msgspec.UNSET
Absent = msgspec.UnsetType
"""A field of type `X | Absent` with the default `UNSET` is left out of the line when it is not set."""


class Wire(msgspec.Struct, rename="camel", kw_only=True):
    """What the server sends: every field is written, `None` as an explicit null.

    The peer writes all its optional fields too; the two exceptions are marked with `Absent`.
    """


class Params(msgspec.Struct, rename="camel", kw_only=True):
    """What a client sends: unknown keys are ignored, an absent optional field is the same as null."""

    @classmethod
    def modern(cls, params: msgspec.Raw) -> bytes | msgspec.Raw:
        """The JSON of params, in today's form where clients still send an older one."""
        return params


class OptionalParams(Params, kw_only=True):
    """Params that may be absent or null as a whole, which then have their defaults."""


class NoParams(OptionalParams, kw_only=True):
    """The params of a method that takes none: absent, null or empty, and nothing else."""
