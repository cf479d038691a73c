"""The worker behind one connection's commands, files, watches and searches: many requests at a time.

A method's first step runs in the order in which the requests came, so a process has its name before the next request
asks for it; nothing else is ordered.
"""

from __future__ import annotations

import asyncio
import logging
import os
from concurrent.futures import ThreadPoolExecutor

from config.errors import ConfigError
from protocol import rpc
from protocol.link import WATCH_SKILLS, Adopt, Command, Record
from sandbox_backends import tree
from sandbox_backends.own import belongings
from workers.host.commands import Commands
from workers.host.files import Files
from workers.host.git_diff import diff_to_remote
from workers.host.mcp import McpInventory
from workers.host.request import HostMethod, HostRequest
from workers.host.searches import Searches
from workers.host.skill_folders import SkillFolders
from workers.host.watches import Watches
from workers.link import Link

__all__ = ["HostService"]

log = logging.getLogger("bulkhead.host")

THREADS = 64
"""For calls that may block; so many hung file systems at once are not expected."""


class HostService:
    def __init__(self, adopt: Adopt, link: Link, loop: asyncio.AbstractEventLoop) -> None:
        self._link = link
        self._loop = loop
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="blocking")
        self._tasks: set[asyncio.Task[None]] = set()
        commands = Commands(link, adopt.home, belongings(adopt.home, adopt.runtime))
        watches = Watches(link)
        searches = Searches(link)
        files = Files(link)
        skills = SkillFolders(link)
        inventory = McpInventory(link, adopt.processes)
        self._methods: dict[str, HostMethod] = {
            "command/exec": commands.run,
            "command/exec/write": commands.write,
            "command/exec/resize": commands.resize,
            "command/exec/terminate": commands.terminate,
            "fs/readFile": files.read,
            "fs/writeFile": files.write,
            "fs/createDirectory": files.create_directory,
            "fs/getMetadata": files.metadata,
            "fs/readDirectory": files.read_directory,
            "fs/remove": files.remove,
            "fs/copy": files.copy,
            "fs/watch": watches.watch,
            "fs/unwatch": watches.unwatch,
            "fuzzyFileSearch": searches.search,
            "fuzzyFileSearch/sessionStart": searches.start,
            "fuzzyFileSearch/sessionUpdate": searches.update,
            "fuzzyFileSearch/sessionStop": searches.stop,
            "gitDiffToRemote": diff_to_remote,
            WATCH_SKILLS: skills.watch,
            "mcpServerStatus/list": inventory.list,
            "mcpServer/resource/read": inventory.read,
        }

    def command(self, key: int, command: Command) -> None:
        task = self._loop.create_task(self._serve(key, command))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, key: int, command: Command) -> None:
        identity = bytes(command.id)
        try:
            method = self._methods.get(command.method)
            if method is None:
                raise rpc.RpcError(f"the host worker does not know {command.method}", rpc.INTERNAL_ERROR)
            line = rpc.result_line(identity, await method(HostRequest(command, self._executor)))
        except rpc.RpcError as error:
            line = rpc.error_line(identity, error)
        except ConfigError as error:
            line = rpc.error_line(identity, rpc.RpcError(f"failed to load configuration: {error}"))
        except OSError as error:
            line = rpc.error_line(identity, rpc.RpcError(system_error(error), rpc.INTERNAL_ERROR))
        except Exception as error:
            log.exception("request %s failed", command.method)
            line = rpc.error_line(identity, rpc.RpcError(f"internal error: {error}", rpc.INTERNAL_ERROR))
        self._link.say(Record.REPLY, key, line)

    def answer(self, key: int, payload: bytes) -> None:
        """It asks nobody anything."""

    def stop(self, payload: bytes) -> None:
        """Nothing is to be stored, and nothing that runs here is to go on."""
        tree.kill_descendants(os.getpid())
        os._exit(0)


def system_error(error: OSError) -> str:
    """An error of the system in the words of the peer's standard library."""
    if error.errno is None:
        return str(error)
    return f"{os.strerror(error.errno)} (os error {error.errno})"
