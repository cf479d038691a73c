"""Our own version, as the installed package says."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__all__ = ["VERSION"]

try:
    VERSION = version("bulkhead")
except PackageNotFoundError:  # run from a checkout without installing
    VERSION = "0+unknown"
