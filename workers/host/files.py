"""`fs/*`: file operations, each in a thread, answered as the peer answers them.

Only regular files are read and written: a pipe or a device could block for ever or never end. Requests that concern the
same path, or one above or below it, keep their order; others do not wait for each other.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from protocol import files as wire
from protocol.rpc import RpcError
from workers.host.encoded import InvalidBase64, decode_base64
from workers.host.request import HostRequest
from workers.link import Link

__all__ = ["Files"]

R = TypeVar("R")

READ_LIMIT = 64 * 1024 * 1024
"""Bytes of a file in one answer. Its line passes the front, whose memory belongs to all threads."""
LARGE = 128 * 1024
"""Files above this are read when the client has taken what was said before."""
LARGE_AT_A_TIME = 4
"""Of those; more than one, so that a file system that hangs does not stop the reading of others."""
_BLOCK = 1 << 20


class Files:
    def __init__(self, link: Link) -> None:
        self._link = link
        self._large = asyncio.Semaphore(LARGE_AT_A_TIME)
        self._under_way: dict[asyncio.Future[None], tuple[bool, tuple[str, ...]]] = {}
        """Requests: whether they change something, and the paths that they concern."""

    async def read(self, request: HostRequest) -> wire.FsReadFileResponse:
        path = request.params(wire.FsReadFileParams).path
        async with self._in_order(path, changes=False):
            size = await _call(request, partial(_readable_size, path))
            if size <= LARGE:
                return wire.FsReadFileResponse(data_base64=await _call(request, partial(_read, path)))
            async with self._large:
                await self._link.ready()
                return wire.FsReadFileResponse(data_base64=await _call(request, partial(_read, path)))

    async def write(self, request: HostRequest) -> wire.FsWriteFileResponse:
        params = request.params(wire.FsWriteFileParams)
        async with self._in_order(params.path):
            await _call(request, partial(_write, params.path, params.data_base64))
        return wire.FsWriteFileResponse()

    async def create_directory(self, request: HostRequest) -> wire.FsCreateDirectoryResponse:
        params = request.params(wire.FsCreateDirectoryParams)
        make = os.mkdir if params.recursive is False else partial(os.makedirs, exist_ok=True)
        async with self._in_order(params.path):
            await _call(request, partial(make, params.path))
        return wire.FsCreateDirectoryResponse()

    async def metadata(self, request: HostRequest) -> wire.FsGetMetadataResponse:
        path = request.params(wire.FsGetMetadataParams).path
        async with self._in_order(path, changes=False):
            return await _call(request, partial(_metadata, path))

    async def read_directory(self, request: HostRequest) -> wire.FsReadDirectoryResponse:
        path = request.params(wire.FsReadDirectoryParams).path
        async with self._in_order(path, changes=False):
            return wire.FsReadDirectoryResponse(entries=await _call(request, partial(_entries, path)))

    async def remove(self, request: HostRequest) -> wire.FsRemoveResponse:
        params = request.params(wire.FsRemoveParams)
        recursive, force = params.recursive is not False, params.force is not False
        async with self._in_order(params.path):
            await _call(request, partial(_remove, params.path, recursive=recursive, force=force))
        return wire.FsRemoveResponse()

    async def copy(self, request: HostRequest) -> wire.FsCopyResponse:
        params = request.params(wire.FsCopyParams)
        paths = params.source_path, params.destination_path
        async with self._in_order(*paths):
            await _call(request, partial(_copy, *paths, recursive=params.recursive))
        return wire.FsCopyResponse()

    @asynccontextmanager
    async def _in_order(self, *paths: str, changes: bool = True) -> AsyncIterator[None]:
        """Wait for what is under way on these paths; readers do not wait for readers."""
        earlier = [
            done
            for done, (changing, others) in self._under_way.items()
            if changes or changing
            if any(_related(path, other) for path in paths for other in others)
        ]
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Known before it waits: the one after it waits for both.
        self._under_way[done] = changes, paths
        try:
            if earlier:
                await asyncio.wait(earlier)
            yield
        finally:
            del self._under_way[done]
            done.set_result(None)


def _related(path: str, other: str) -> bool:
    """Whether one is the other, or lies in it."""
    shorter, longer = sorted((path.rstrip("/") + "/", other.rstrip("/") + "/"), key=len)
    return longer.startswith(shorter)


async def _call(request: HostRequest, function: Callable[[], R]) -> R:
    try:
        return await request.blocking(function)
    except ValueError as error:
        # The only one that a path can cause.
        raise RpcError("file name contained an unexpected NUL byte") from error


def _require_file(path: str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise RpcError(f"path `{path}` is not a file")


def _readable_size(path: str) -> int:
    found = os.stat(path)
    _require_file(path, found.st_mode)
    _check_size(found.st_size)
    return found.st_size


def _check_size(size: int) -> None:
    if size > READ_LIMIT:
        raise RpcError(f"file is too large to read: limit is {READ_LIMIT} bytes")


def _read(path: str) -> bytes:
    # It may have become a pipe since it was looked at: neither opening nor reading may wait.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        _require_file(path, found.st_mode)
        # Files of /proc say that they are empty, and others grow.
        blocks = [os.read(fd, max(found.st_size + 1, _BLOCK))]
        total = len(blocks[0])
        while blocks[-1]:
            _check_size(total)
            blocks.append(os.read(fd, _BLOCK))
            total += len(blocks[-1])
        return b"".join(blocks)
    finally:
        os.close(fd)


def _write(path: str, text: str) -> None:
    try:
        data = memoryview(decode_base64(text))
    except InvalidBase64 as error:
        raise RpcError(f"fs/writeFile requires valid base64 dataBase64: {error}") from None
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        pass
    else:
        if not stat.S_ISDIR(mode):  # those are refused in the system's words
            _require_file(path, mode)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, 0o666)
    try:
        _require_file(path, os.fstat(fd).st_mode)
        os.ftruncate(fd, 0)
        while data:
            data = data[os.write(fd, data) :]
    finally:
        os.close(fd)


def _metadata(path: str) -> wire.FsGetMetadataResponse:
    link = os.lstat(path)
    found = os.stat(path)
    return wire.FsGetMetadataResponse(
        is_directory=stat.S_ISDIR(found.st_mode),
        is_file=stat.S_ISREG(found.st_mode),
        is_symlink=stat.S_ISLNK(link.st_mode),
        created_at_ms=0,  # Linux tells no more through stat(2), and Codex says the same
        modified_at_ms=max(0, found.st_mtime_ns // 1_000_000),
    )


def _entries(path: str) -> list[wire.FsReadDirectoryEntry]:
    entries: list[wire.FsReadDirectoryEntry] = []
    with os.scandir(path) as found:
        for entry in found:
            try:
                mode = entry.stat().st_mode
            except OSError:
                continue  # gone meanwhile, or a link that leads nowhere
            entries.append(
                wire.FsReadDirectoryEntry(
                    file_name=os.fsencode(entry.name).decode("utf-8", "replace"),
                    is_directory=stat.S_ISDIR(mode),
                    is_file=stat.S_ISREG(mode),
                )
            )
    return entries


def _remove(path: str, *, recursive: bool, force: bool) -> None:
    try:
        is_directory = stat.S_ISDIR(os.lstat(path).st_mode)
        if not is_directory:
            os.unlink(path)
        elif recursive:
            shutil.rmtree(path)
        else:
            os.rmdir(path)
    except FileNotFoundError:
        if not force:
            raise


def _copy(source: str, destination: str, *, recursive: bool) -> None:
    mode = os.lstat(source).st_mode
    if stat.S_ISDIR(mode):
        if not recursive:
            raise RpcError("fs/copy requires recursive: true when sourcePath is a directory")
        inside = os.path.realpath(source)
        target = os.path.realpath(destination)
        if target == inside or target.startswith(inside.rstrip("/") + "/"):
            raise RpcError("fs/copy cannot copy a directory to itself or one of its descendants")
        _copy_directory(source, destination)
    elif stat.S_ISLNK(mode):
        os.symlink(os.readlink(source), destination)
    elif stat.S_ISREG(mode):
        _copy_file(source, destination)
    else:
        raise RpcError("fs/copy only supports regular files, directories, and symlinks")


def _copy_directory(source: str, destination: str) -> None:
    """Into a directory that is there already, too; pipes and devices are left out."""
    os.makedirs(destination, exist_ok=True)
    with os.scandir(source) as entries:
        for entry in entries:
            target = os.path.join(destination, entry.name)
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), target)
            elif entry.is_dir():
                _copy_directory(entry.path, target)
            elif entry.is_file():
                _copy_file(entry.path, target)


def _copy_file(source: str, destination: str) -> None:
    try:
        mode = os.stat(destination).st_mode
    except FileNotFoundError:
        pass
    else:
        if not stat.S_ISDIR(mode):
            _require_file(destination, mode)
            if os.path.samefile(source, destination):
                return
    shutil.copyfile(source, destination)
    shutil.copymode(source, destination)
