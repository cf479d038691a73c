"""The worker behind the catalog: answers for threads that are not loaded, one request at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from protocol import rpc
from protocol.base import Wire
from protocol.link import Adopt, Command, Record
from protocol.notifications import DeprecationNotice
from protocol.refusal import decode_params
from protocol.threads import (
    ThreadArchiveParams,
    ThreadArchiveResponse,
    ThreadListParams,
    ThreadReadParams,
    ThreadReadResponse,
    ThreadSetNameParams,
    ThreadSetNameResponse,
    ThreadStatus,
    ThreadUnarchiveParams,
    ThreadUnarchiveResponse,
)
from rollouts.catalog import Catalog
from rollouts.errors import RolloutError
from workers.link import Link

__all__ = ["READ_HYDRATION", "CatalogService"]

READ_HYDRATION = (
    "Full-history hydration is deprecated for paginated threads; omit `includeTurns` or set it to `false`, "
    "then page with `thread/turns/list` and `thread/items/list`."
)


class CatalogService:
    def __init__(self, adopt: Adopt, link: Link, loop: asyncio.AbstractEventLoop) -> None:
        self._catalog = Catalog(adopt.home)
        self._link = link
        self._key = 0
        self._handlers: dict[str, Callable[[Command], Wire]] = {
            "thread/list": self._list,
            "thread/read": self._read,
            "thread/archive": self._archive,
            "thread/unarchive": self._unarchive,
            "thread/name/set": self._set_name,
        }

    def command(self, key: int, command: Command) -> None:
        identity = bytes(command.id)
        self._key = key
        try:
            handler = self._handlers.get(command.method)
            if handler is None:
                raise rpc.RpcError(f"the catalog does not know {command.method}", rpc.INTERNAL_ERROR)
            line = rpc.result_line(identity, handler(command))
        except rpc.RpcError as error:
            line = rpc.error_line(identity, error)
        except RolloutError as error:
            line = rpc.error_line(identity, rpc.RpcError(str(error)))
        except OSError as error:
            line = rpc.error_line(identity, rpc.RpcError(str(error), rpc.INTERNAL_ERROR))
        self._link.say(Record.REPLY, key, line)

    def answer(self, key: int, payload: bytes) -> None:
        """The catalog asks nobody anything."""

    def stop(self, payload: bytes) -> None:
        """It holds nothing that would have to be stored."""

    def _list(self, command: Command) -> Wire:
        params = decode_params(command.params, ThreadListParams)
        loaded = msgspec.json.decode(command.context, type=dict[str, ThreadStatus])
        return self._catalog.list(params, loaded)

    def _read(self, command: Command) -> Wire:
        params = decode_params(command.params, ThreadReadParams)
        thread = self._catalog.read(params.thread_id, include_turns=params.include_turns)
        if params.include_turns and thread.history_mode == "paginated":
            notice = DeprecationNotice(summary=READ_HYDRATION)
            self._link.say(Record.NOTICE, self._key, rpc.notification_line("deprecationNotice", notice))
        return ThreadReadResponse(thread=thread)

    def _archive(self, command: Command) -> Wire:
        self._catalog.archive(decode_params(command.params, ThreadArchiveParams).thread_id)
        return ThreadArchiveResponse()

    def _unarchive(self, command: Command) -> Wire:
        thread = self._catalog.unarchive(decode_params(command.params, ThreadUnarchiveParams).thread_id)
        return ThreadUnarchiveResponse(thread=thread)

    def _set_name(self, command: Command) -> Wire:
        params = decode_params(command.params, ThreadSetNameParams)
        self._catalog.set_name(params.thread_id, params.name)
        return ThreadSetNameResponse()
