"""Writing several files so that either all are written or none is, whatever ends us, and whenever.

A patch is a list of `Step`s, and has a token. Beside its files it has names of its own, `.patch-TOKEN...`:

    .patch-TOKEN          the mark: made before anything else, removed when all steps are done. That removal is the
                          moment at which the patch is applied. As long as we live it is locked (flock).
    .patch-TOKEN-N-new    what step N writes, until it is moved to its place
    .patch-TOKEN-N-old    the file that was there: a second name of it, which takes no space and loses nothing
    .patch-TOKEN-N-whole  a copy of it, where the file itself has to be overwritten in place
    .patch-TOKEN-N-copy   one of the two above that is not whole yet

So `patch_undo` can tell from the names alone how far a patch came, and puts all back or clears up. Folders are reached
without following links: the steps have none in their paths, so one that is met was put there meanwhile.
Few imports, see `patch_grammar`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from .patch_grammar import Record
from .patch_undo import Bench, Step, clear, undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Content", "Writing"]

_NO_NAMES = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
"""A folder that takes no new name while a file in it may be writable."""
_NO_REPLACE = _NO_NAMES | {errno.EBUSY, errno.EXDEV}
"""A file mounted on its own cannot be moved, nor get a second name, but may be writable."""
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV, errno.ENOSYS, errno.EACCES})
"""A file system without hard links, or a file that may not get one."""
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class Content(Record):
    """Of one step: what it writes (None: it deletes), with which mode (None: as files are made), and what was there."""

    __slots__ = ("data", "mode", "old")

    def __init__(self, data: bytes | None, mode: int | None, old: bytes | None) -> None:
        self.data = data
        self.mode = mode
        self.old = old


class Writing:
    """One patch on its way. `failed` is the step that an OSError came from."""

    def __init__(self, token: str, steps: Sequence[Step], contents: Sequence[Content]) -> None:
        self._steps = steps
        self._contents = contents
        self._bench = Bench(token)
        self._mark: tuple[str, int] | None = None
        self._held: dict[int, bytes] = {}
        """Old content that no folder takes: only we can put it back."""
        self.failed = 0

    def run(self) -> None:
        """Do all. Raises OSError with `failed` set, and then, as after anything else that is raised, `undo` is due."""
        self._make_mark()
        for number, (step, content) in enumerate(zip(self._steps, self._contents, strict=True)):
            self.failed = number
            if content.data is not None:
                self._stage(number, step, content)
        for number, (step, content) in enumerate(zip(self._steps, self._contents, strict=True)):
            self.failed = number
            if content.data is None:
                self._delete(number, step, content)
            else:
                self._write(number, step, content)
        self._commit()

    def undo(self) -> tuple[str, ...]:
        """Put all back; the paths that could not be."""
        lost = []
        for number, data in sorted(self._held.items(), reverse=True):
            path = self._steps[number].path
            try:
                self._rewrite(path, data)
            except OSError:
                lost.append(path)
        # The mark is still ours, and so is its lock.
        if self._mark is not None:
            lost += undo(self._bench, self._steps, marked=self._mark[0])
        self._release()
        return tuple(lost)

    # --- the mark ----------------------------------------------------------------------------------------------------

    def _make_mark(self) -> None:
        for step in self._steps:
            try:
                with self._bench.folder(step.base) as folder:
                    fd = os.open(self._bench.mark, _CREATE, 0o600, dir_fd=folder.fd)
            except OSError as error:
                if error.errno in _NO_NAMES:
                    continue
                raise
            self._mark = (step.base, fd)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return

    def _commit(self) -> None:
        if self._mark is not None:
            with self._bench.folder(self._mark[0]) as folder:
                os.unlink(self._bench.mark, dir_fd=folder.fd)
            # From here on the patch is applied.
            clear(self._bench, self._steps, (self._mark[0],))
        self._release()

    def _release(self) -> None:
        if self._mark is not None:
            os.close(self._mark[1])
            self._mark = None

    # --- the steps ---------------------------------------------------------------------------------------------------

    def _stage(self, number: int, step: Step, content: Content) -> None:
        assert content.data is not None
        with self._bench.folder(step.base) as folder:
            try:
                self._fill(folder.fd, self._bench.name(number, "new"), content.data, content.mode)
            except OSError as error:
                # It is written in place then, if there is something in that place.
                if error.errno not in _NO_NAMES or content.old is None:
                    raise

    def _write(self, number: int, step: Step, content: Content) -> None:
        new, old = self._bench.name(number, "new"), self._bench.name(number, "old")
        self._make_folders(step)
        name = os.path.basename(step.path)
        with (
            self._bench.folder(os.path.dirname(step.path)) as folder,
            self._bench.folder(step.base) as base,
        ):
            try:
                staged = stat.S_ISREG(os.stat(new, dir_fd=base.fd, follow_symlinks=False).st_mode)
            except FileNotFoundError:
                staged = False
            if content.old is None:
                self._place(base.fd, new, folder.fd, name)
                return
            if staged and self._keep(number, folder.fd, name):
                self._same(folder.fd, old, content.old, step.path)
                try:
                    os.rename(new, name, src_dir_fd=base.fd, dst_dir_fd=folder.fd)
                except OSError as error:
                    if error.errno not in _NO_REPLACE:
                        raise
                else:
                    return
        self._overwrite(number, step, content)

    @staticmethod
    def _place(base: int, new: str, folder: int, name: str) -> None:
        """Where nothing was: a link, unlike a rename, puts nothing in the place of what has come there meanwhile."""
        try:
            os.link(new, name, src_dir_fd=base, dst_dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            os.rename(new, name, src_dir_fd=base, dst_dir_fd=folder)
        else:
            os.unlink(new, dir_fd=base)

    def _delete(self, number: int, step: Step, content: Content) -> None:
        old = self._bench.name(number, "old")
        with self._bench.folder(os.path.dirname(step.path)) as folder:
            os.rename(os.path.basename(step.path), old, src_dir_fd=folder.fd, dst_dir_fd=folder.fd)
            self._same(folder.fd, old, content.old, step.path)

    def _keep(self, number: int, folder: int, name: str) -> bool:
        """Give the file its second name; False where the folder takes none."""
        old = self._bench.name(number, "old")
        try:
            os.link(name, old, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
        else:
            return True
        try:
            self._copy(number, folder, name, folder, "old")
        except OSError as error:
            if error.errno not in _NO_REPLACE:
                raise
            return False
        return True

    def _overwrite(self, number: int, step: Step, content: Content) -> None:
        """In place, with a copy of what was there where it can be kept: beside the file, or beside the mark."""
        assert content.data is not None
        places = [os.path.dirname(step.path), *([self._mark[0]] if self._mark is not None else [])]
        name = os.path.basename(step.path)
        with self._bench.folder(places[0]) as source:
            for place in places:
                try:
                    with self._bench.folder(place) as folder:
                        self._copy(number, source.fd, name, folder.fd, "whole")
                except OSError as error:
                    if error.errno not in _NO_REPLACE:
                        raise
                else:
                    break
            else:
                self._held[number] = self._bench.read(source.fd, name)
        self._rewrite(step.path, content.data)

    def _copy(self, number: int, source: int, name: str, folder: int, as_: str) -> None:
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        copy = self._bench.name(number, "copy")
        self._fill(folder, copy, self._bench.read(source, name), stat.S_IMODE(status.st_mode))
        os.rename(copy, self._bench.name(number, as_), src_dir_fd=folder, dst_dir_fd=folder)

    @staticmethod
    def _fill(folder: int, name: str, data: bytes, mode: int | None) -> None:
        with open(os.open(name, _CREATE, 0o666, dir_fd=folder), "wb") as file:
            file.write(data)
            if mode is not None:
                os.fchmod(file.fileno(), mode)

    def _rewrite(self, path: str, data: bytes) -> None:
        with self._bench.folder(os.path.dirname(path)) as folder:
            self._bench.rewrite(folder.fd, os.path.basename(path), data)

    def _same(self, folder: int, name: str, expected: bytes | None, path: str) -> None:
        """Raise OSError if the file has changed since the patch was fitted to it."""
        if self._bench.read(folder, name) != expected:
            raise OSError(errno.ESTALE, "the file was changed meanwhile", path)

    def _make_folders(self, step: Step) -> None:
        for path in step.folders():
            with self._bench.folder(os.path.dirname(path)) as folder:
                try:
                    os.mkdir(os.path.basename(path), dir_fd=folder.fd)
                except FileExistsError:
                    # Of another step, or made meanwhile; what is no folder is found by who goes through it.
                    continue
