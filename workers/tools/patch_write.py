"""Writing several files so that either all are written or none is.

Each file is replaced in one step, so nobody sees half of one, and what it was is kept beside it until all are done:
as a second name of the same file, which takes no space and loses nothing. Few imports, see `patch_grammar`.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Writing"]

_NO_REPLACE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV})
"""A folder that takes no new name while the file itself may be writable: a file mounted on its own."""


def _beside(path: str) -> str:
    # not derived from the file's name, which may be as long as a name can be
    return os.path.join(os.path.dirname(path), f".patch-{os.urandom(8).hex()}")


class Writing:
    """The steps done so far, and how each is undone."""

    def __init__(self) -> None:
        self._undo: list[tuple[str, Callable[[], None]]] = []
        self._kept: list[str] = []
        """Names that only serve an undo."""

    def write(self, target: str, data: bytes, mode: int | None) -> None:
        """Give `target` (no link, absolute) this content, and this mode if it is not None. Raises OSError."""
        self._make_folders(os.path.dirname(target))
        temporary = _beside(target)
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except OSError as error:
            if error.errno not in _NO_REPLACE or not os.path.isfile(target):
                raise
            self._overwrite(target, data)
            return
        try:
            with open(fd, "wb") as file:
                file.write(data)
                if mode is not None:
                    os.fchmod(fd, mode)
            undo = self._keep(target)
            try:
                os.replace(temporary, target)
            except OSError as error:
                if error.errno not in _NO_REPLACE or not os.path.isfile(target):
                    raise
                self._overwrite(target, data)
            else:
                self._undo.append((target, undo))
        finally:
            _discard(temporary)

    def delete(self, path: str) -> None:
        """Remove a file or a link. Raises OSError."""
        kept = _beside(path)
        os.rename(path, kept)
        self._kept.append(kept)
        self._undo.append((path, lambda: os.rename(kept, path)))

    def _keep(self, target: str) -> Callable[[], None]:
        """What puts `target` back as it is now."""
        if not os.path.lexists(target):
            return lambda: os.unlink(target)
        kept = _beside(target)
        try:
            os.link(target, kept, follow_symlinks=False)
        except OSError:
            # a file system without links: the content has to do
            with open(target, "rb") as file:
                old = file.read()
            return lambda: _rewrite(target, old)
        self._kept.append(kept)
        return lambda: os.replace(kept, target)

    def _overwrite(self, target: str, data: bytes) -> None:
        with open(target, "rb") as file:
            old = file.read()
        self._undo.append((target, lambda: _rewrite(target, old)))
        _rewrite(target, data)

    def _make_folders(self, folder: str) -> None:
        missing: list[str] = []
        while folder and not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        for path in reversed(missing):
            os.mkdir(path)
            self._undo.append((path, lambda path=path: os.rmdir(path)))  # type: ignore[misc]  # bound early

    def undo(self) -> tuple[str, ...]:
        """Put all back, the last step first; the paths that could not be."""
        lost: list[str] = []
        while self._undo:
            path, step = self._undo.pop()
            try:
                step()
            except OSError:
                lost.append(path)
        if not lost:
            self.finish()
        return tuple(lost)

    def finish(self) -> None:
        """All is as it shall be: drop what was kept."""
        self._undo.clear()
        while self._kept:
            _discard(self._kept.pop())


def _rewrite(target: str, data: bytes) -> None:
    with open(target, "r+b") as file:
        file.write(data)
        file.truncate()


def _discard(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
