"""`fs/watch`: what changes in a directory, or becomes of a file, told to the client.

One inotify instance serves all watches of the connection (a user has few of them). A watch holds on to the directory
of its path, or, while that is missing, to the nearest one above it, and moves when directories come and go.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from protocol import files as wire
from protocol.link import Record
from protocol.rpc import RpcError, notification_line
from workers.host.request import HostRequest
from workers.link import Link

if TYPE_CHECKING:
    from asyncinotify import Inotify, Watch

__all__ = ["Watches"]

GATHER_S = 0.2
"""Changes within so long are told together: a build touches a file many times."""
SETTLE_ROUNDS = 8
"""How often directories may come or go while we look for them; later ones are told as events."""
WATCH_LIMIT = 1024
"""Of one connection; the system has some 8,000 for each user at least."""


class _Watched:
    def __init__(self, identity: str, path: str) -> None:
        self.identity = identity
        self.path = path
        self.folders: frozenset[str] = frozenset()
        """The directories held on to."""
        self.changed: set[str] = set()
        self.existed = False

    def concerns(self, path: str) -> bool:
        return path == self.path or os.path.dirname(path) == self.path


class Watches:
    def __init__(self, link: Link) -> None:
        self._link = link
        self._watched: dict[str, _Watched] = {}
        self._folders: dict[str, Watch] = {}
        self._inotify: Inotify | None = None
        self._reading: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None

    async def watch(self, request: HostRequest) -> wire.FsWatchResponse:
        params = request.params(wire.FsWatchParams)
        identity = params.watch_id
        if identity in self._watched:
            raise RpcError(f"watchId already exists: {identity}")
        if len(self._watched) >= WATCH_LIMIT:
            raise RpcError(f"a connection has at most {WATCH_LIMIT} watches")
        watched = self._watched[identity] = _Watched(identity, params.path)
        try:
            watched.path = await request.blocking(lambda: os.path.realpath(params.path))
            if self._watched.get(identity) is watched:
                await self._settle(watched)
        except ValueError:
            self._forget(identity)
            raise RpcError("file name contained an unexpected NUL byte") from None
        except BaseException:
            self._forget(identity)
            raise
        return wire.FsWatchResponse(path=watched.path)

    async def unwatch(self, request: HostRequest) -> wire.FsUnwatchResponse:
        self._forget(request.params(wire.FsUnwatchParams).watch_id)
        return wire.FsUnwatchResponse()

    def _forget(self, identity: str) -> None:
        if self._watched.pop(identity, None) is not None:
            self._let_go()

    async def _settle(self, watched: _Watched) -> None:
        """Hold on to what there is of the path now, the directory itself and its nearest parent."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(None, _anchors, watched.path)
        for _ in range(SETTLE_ROUNDS):
            folders, watched.existed = found
            # First the new ones, then the old ones go: nothing between is missed.
            held = set()
            for folder in folders:
                if await self._hold(folder):
                    held.add(folder)
            watched.folders = frozenset(held)
            # What came or went before these were held was told to nobody, so it is looked for.
            found, before = await loop.run_in_executor(None, _anchors, watched.path), found
            if found == before:
                break
        self._let_go()

    async def _hold(self, folder: str) -> bool:
        if folder in self._folders:
            return True
        from asyncinotify import Inotify, Mask  # noqa: PLC0415 - few workers watch anything, and all would pay

        if self._inotify is None:
            self._inotify = Inotify()
            self._reading = asyncio.get_running_loop().create_task(self._read(self._inotify))
        mask = (
            Mask.CREATE | Mask.DELETE | Mask.MODIFY | Mask.ATTRIB | Mask.MOVE
            | Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.ONLYDIR
        )  # fmt: skip
        try:
            self._folders[folder] = self._inotify.add_watch(folder, mask)
        except FileNotFoundError:
            return False  # gone meanwhile; its parent tells when it comes again
        return True

    def _let_go(self) -> None:
        needed = {folder for watched in self._watched.values() for folder in watched.folders}
        for folder in [folder for folder in self._folders if folder not in needed]:
            watch = self._folders.pop(folder)
            if self._inotify is not None and watch.inotify is not None:
                with suppress(OSError):  # the directory is gone, and the system's watch with it
                    self._inotify.rm_watch(watch)

    async def _read(self, inotify: Inotify) -> None:
        from asyncinotify import Mask  # noqa: PLC0415 - imported above already

        while True:
            event = await inotify.get()
            if event.mask & Mask.Q_OVERFLOW:
                # Too much at once: nobody knows what, so each watch is told of its own path.
                for watched in self._watched.values():
                    self._note(watched, watched.path)
                continue
            if event.watch is None or event.path is None:
                continue
            folder, path = str(event.watch.path), str(event.path)
            if event.mask & (Mask.IGNORED | Mask.DELETE_SELF | Mask.MOVE_SELF):
                if self._folders.get(folder) is event.watch:
                    del self._folders[folder]
                path = folder
            for watched in tuple(self._watched.values()):
                if watched.concerns(path):
                    self._note(watched, path)
                elif folder in watched.folders and watched.path.startswith(path.rstrip("/") + "/"):
                    self._note(watched, None)

    def _note(self, watched: _Watched, path: str | None) -> None:
        if path is not None:
            watched.changed.add(os.fsencode(path).decode("utf-8", "replace"))
        else:
            watched.changed.add("")
        if self._telling is None or self._telling.done():
            self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        await asyncio.sleep(GATHER_S)
        await self._link.ready()
        for watched in tuple(self._watched.values()):
            if not watched.changed or self._watched.get(watched.identity) is not watched:
                continue
            changed, watched.changed = watched.changed, set()
            existed = watched.existed
            if "" in changed or watched.path in changed:
                await self._settle(watched)
            changed.discard("")
            if existed != watched.existed:
                changed.add(watched.path)
            if changed and self._watched.get(watched.identity) is watched:
                notice = wire.FsChangedNotification(watch_id=watched.identity, changed_paths=sorted(changed))
                self._link.say(Record.EVENTS, 0, notification_line("fs/changed", notice))
        if any(watched.changed for watched in self._watched.values()):
            self._telling = asyncio.get_running_loop().create_task(self._tell())


def _anchors(path: str) -> tuple[tuple[str, ...], bool]:
    """The directories to hold on to for a path, and whether the path is there."""
    parent = os.path.dirname(path)
    while not os.path.isdir(parent):
        parent = os.path.dirname(parent)
    existed = os.path.lexists(path)
    return ((path, parent) if os.path.isdir(path) else (parent,)), existed
