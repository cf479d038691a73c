"""The configuration as the front holds it: read again when the file changes, handed to workers as it is."""

from __future__ import annotations

import os

import msgspec

from config.document import CONFIG_FILE, Document, Layer
from config.flags import Flags
from config.settings import Settings, settings_of
from config.warnings import project_warnings, user_warnings
from protocol.notifications import ConfigWarning

__all__ = ["Configuration"]


class Configuration:
    """Raises ConfigError wherever the file is read and wrong."""

    def __init__(self, home: str, flags: Flags) -> None:
        self.home = home
        self.flags = flags
        self._stamp: tuple[int, int, int] | None = None
        self._read = False
        self.document = Document()
        self.settings = Settings()
        self.layers = msgspec.Raw(b"{}")
        self._user_warnings: list[ConfigWarning] = []
        self.refresh()
        # Those of the folder it was started in, once: looking there again and again is not for a loop to do.
        self._project_warnings = project_warnings(self.document, home, os.getcwd())

    @property
    def warnings(self) -> list[ConfigWarning]:
        """What a client is told when it has initialized."""
        return [*self._project_warnings, *self._user_warnings]

    def refresh(self) -> Configuration:
        """Read the file again if it is another one than last time."""
        stamp = _stamp(os.path.join(self.home, CONFIG_FILE))
        if stamp != self._stamp or not self._read:
            document = self.flags.load(self.home)
            self.settings = settings_of(document)
            self.document = document
            self._user_warnings = user_warnings(document)
            self.layers = msgspec.Raw(msgspec.json.encode(_without_positions(document)))
            self._stamp = stamp
            self._read = True
        return self


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _without_positions(document: Document) -> Document:
    """Lines and columns are for error messages, and those are ours: what reaches a worker has been checked."""
    return Document(tuple(Layer(layer.origin, layer.values, {}, layer.disabled) for layer in document.layers))
