"""Our own version; the package takes it from here, so that nothing has to look it up at start."""

__all__ = ["VERSION"]

VERSION = "0.1.0"
