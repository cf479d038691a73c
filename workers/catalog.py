"""The worker behind the catalog: answers for threads that are not loaded, one request at a time."""

from __future__ import annotations

import asyncio

from protocol import rpc
from protocol.link import Adopt, Command, Record
from rollouts.catalog import Catalog
from rollouts.errors import RolloutError
from workers.link import Link
from workers.stored.registry import METHODS
from workers.stored.request import StoredRequest

__all__ = ["CatalogService"]


class CatalogService:
    def __init__(self, adopt: Adopt, link: Link, loop: asyncio.AbstractEventLoop) -> None:
        self._adopt = adopt
        self._threads = Catalog(adopt.home)
        self._link = link

    def command(self, key: int, command: Command) -> None:
        identity = bytes(command.id)
        request = StoredRequest(self._adopt, self._threads, self._link, key, command)
        try:
            method = METHODS.get(command.method)
            if method is None:
                raise rpc.RpcError(f"the catalog does not know {command.method}", rpc.INTERNAL_ERROR)
            line = rpc.result_line(identity, method(request))
        except rpc.RpcError as error:
            line = rpc.error_line(identity, error)
        except RolloutError as error:
            line = rpc.error_line(identity, rpc.RpcError(str(error), error.code))
        except OSError as error:
            line = rpc.error_line(identity, rpc.RpcError(str(error), rpc.INTERNAL_ERROR))
        self._link.say(Record.REPLY, key, line)

    def answer(self, key: int, payload: bytes) -> None:
        """The catalog asks nobody anything."""

    def stop(self, payload: bytes) -> None:
        """It holds nothing that would have to be stored."""
