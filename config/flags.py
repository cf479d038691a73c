"""What the command line says about the configuration."""

from __future__ import annotations

import msgspec

from config.document import Document, load_document

__all__ = ["Flags"]


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    overrides: tuple[str, ...] = ()
    profile: str | None = None
    enable: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()

    def load(self, home: str) -> Document:
        """:raises ConfigError: as `load_document`."""
        return load_document(
            home, overrides=self.overrides, profile=self.profile, enable=self.enable, disable=self.disable
        )
