"""Constrained values in params; `protocol.refusal` words what does not fit as the peer's types of the same width do."""

from __future__ import annotations

from typing import Annotated

import msgspec

__all__ = ["ABSOLUTE", "AbsolutePath", "Unsigned16", "Unsigned32", "UnsignedSize"]

ABSOLUTE = "^/"

AbsolutePath = Annotated[str, msgspec.Meta(pattern=ABSOLUTE)]
UnsignedSize = Annotated[int, msgspec.Meta(ge=0)]
Unsigned16 = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
Unsigned32 = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF_FFFF)]
