"""Watching the folders in which skills are: one process for all threads of a server, and none if there are no skills.

Clients and threads are told only that something has changed, and not more often than Codex 0.169 tells it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from config.skills import newest_change, skill_folders
from protocol.base import Params, Wire
from protocol.link import Record
from protocol.rpc import notification_line
from protocol.skills import SkillsChangedNotification
from workers.host.request import HostRequest
from workers.link import Link

if TYPE_CHECKING:
    from asyncinotify import Inotify, Watch

__all__ = ["SkillFolders"]

GATHER_S = 0.2
"""A skill is a folder and a file in it: they come one after the other."""
PAUSE_S = 10.0
"""At the least from one notification to the next."""
CLOCK_S = 0.02
"""The times of files are those of the last tick of the system's clock."""
MAX_FOLDERS = 4096
"""The system has some 8,000 watches for each user at least."""


class _Params(Params, kw_only=True):
    roots: list[str]
    read_at: float
    """When they were looked through, in unix seconds."""


class _Watching(Wire, kw_only=True):
    """The answer, which nobody waits for."""


class SkillFolders:
    def __init__(self, link: Link) -> None:
        self._link = link
        self._roots: dict[str, None] = {}
        self._folders: dict[str, Watch] = {}
        self._inotify: Inotify | None = None
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def watch(self, request: HostRequest) -> Wire:
        params = request.params(_Params)
        self._roots.update(dict.fromkeys(params.roots))
        if self._inotify is None:
            from asyncinotify import Inotify  # noqa: PLC0415 - few workers watch anything, and all would pay

            self._inotify = Inotify()
            loop = asyncio.get_running_loop()
            self._tasks = [loop.create_task(self._read(self._inotify)), loop.create_task(self._tell())]
        await self._settle(self._inotify)
        newest = await request.blocking(lambda: newest_change(_folders_of(tuple(params.roots))))
        if newest > params.read_at - CLOCK_S:
            self._changed.set()
        return _Watching()

    async def _settle(self, inotify: Inotify) -> None:
        """Hold on to the folders that there are now."""
        from asyncinotify import Mask  # noqa: PLC0415 - imported already

        mask = (
            Mask.CREATE | Mask.DELETE | Mask.CLOSE_WRITE | Mask.ATTRIB | Mask.MOVE
            | Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.ONLYDIR
        )  # fmt: skip
        folders = await asyncio.get_running_loop().run_in_executor(None, _folders_of, tuple(self._roots))
        for folder in folders - self._folders.keys():
            with suppress(OSError):  # gone meanwhile, or there are too many
                self._folders[folder] = inotify.add_watch(folder, mask)
        for folder in self._folders.keys() - folders:
            watch = self._folders.pop(folder)
            if watch.inotify is not None:
                with suppress(OSError):  # the folder is gone, and the system's watch with it
                    inotify.rm_watch(watch)

    async def _read(self, inotify: Inotify) -> None:
        from asyncinotify import Mask  # noqa: PLC0415 - imported already

        while True:
            event = await inotify.get()
            if event.mask & Mask.IGNORED:
                if event.watch is not None and self._folders.get(str(event.watch.path)) is event.watch:
                    del self._folders[str(event.watch.path)]
                continue
            self._changed.set()

    async def _tell(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(GATHER_S)
            self._changed.clear()
            assert self._inotify is not None
            # New folders are held on to before it is told: what comes later than the list is told again.
            await self._settle(self._inotify)
            await self._link.ready()
            line = notification_line("skills/changed", SkillsChangedNotification())
            self._link.say(Record.EVENTS, 0, line)
            await asyncio.sleep(PAUSE_S)


def _folders_of(roots: tuple[str, ...]) -> set[str]:
    return set(islice((folder for root in roots for folder in skill_folders(root)), MAX_FOLDERS))
