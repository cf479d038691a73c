"""Where a relative path of the configuration is meant from."""

from __future__ import annotations

import os
from collections.abc import Mapping

from config.document import Layer

__all__ = ["absolute", "folder_of"]


def absolute(path: str, base: str, environ: Mapping[str, str]) -> str:
    """`path` from the folder `base`, or from the home of `environ` if it begins with `~/`; links are not followed."""
    if path == "~" or path.startswith("~/"):
        path = os.path.join(environ.get("HOME") or os.path.expanduser("~"), path[2:])
    return os.path.normpath(os.path.join(base, path))


def folder_of(layer: Layer | None, otherwise: str) -> str:
    """What relative paths of a layer are meant from."""
    return otherwise if layer is None or layer.origin.file is None else os.path.dirname(layer.origin.file)
