"""Structs that can be printed, logged and shown in a traceback without giving a secret away."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

__all__ = ["Discreet"]

HIDDEN = "<hidden>"


class Discreet(msgspec.Struct, frozen=True, kw_only=True):
    """Shows the fields named in `shown`; of the others only whether they are there at all."""

    shown: ClassVar[frozenset[str]] = frozenset()

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [(name, self._face(name)) for name in self.__struct_fields__]

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={self._face(name)!r}" for name in self.__struct_fields__)
        return f"{type(self).__name__}({fields})"

    def _face(self, name: str) -> Any:
        value = getattr(self, name)
        return value if name in self.shown or value is None else HIDDEN
