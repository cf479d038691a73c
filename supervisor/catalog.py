"""The catalog: worker processes that answer for threads which are not loaded.

Listing and reading stored threads means reading files of any size and any content. A worker without a thread does
it, so a rollout of 700 MB or a poisoned one costs a process of its own and never the front.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import signal
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from protocol import rpc
from protocol.link import Adopt, Command, Frame, Record, TornRecord, records
from supervisor import refusals
from supervisor.hub import Hub
from supervisor.launcher import Handle, LaunchError
from supervisor.nursery import Nursery

if TYPE_CHECKING:
    from supervisor.connection import Connection

__all__ = ["Catalog"]

log = logging.getLogger("bulkhead.catalog")

WORKERS = 2
"""A long read keeps one of them; a list goes to the other."""
JOB_TIMEOUT_S = 120.0
"""Reading 1 GB takes about 30 s."""
ATTEMPTS = 2
"""A request whose worker died is tried once more: it may not have been its fault."""
_encode = msgspec.json.Encoder().encode


class _Job:
    def __init__(
        self, command: Command, connection: Connection | None, answer: asyncio.Future[bytes] | None
    ) -> None:
        self.command = command
        self.connection = connection
        self.answer = answer
        self.attempts = 0

    def finish(self, line: bytes) -> None:
        if self.connection is not None:
            self.connection.outbox.control(line)
        if self.answer is not None and not self.answer.done():
            self.answer.set_result(line)


class _Worker:
    """One catalog worker, as the hub's peer; it has at most one job at a time."""

    def __init__(self, catalog: Catalog, handle: Handle) -> None:
        self.handle = handle
        self.job: tuple[int, _Job] | None = None
        self.unacknowledged = 0
        self._catalog = catalog

    def on_frame(self, kind: int, number: int, payload: bytes) -> None:
        if kind != Frame.STREAM:
            return
        try:
            for record, key, body, size in records(payload):
                self.unacknowledged += size
                if self.job is None or self.job[0] != key:
                    continue
                if record == Record.REPLY:
                    job, self.job = self.job[1], None
                    job.finish(body)
                elif record == Record.NOTICE and self.job[1].connection is not None:
                    self.job[1].connection.outbox.control(body)
        except TornRecord:
            self.handle.signal(signal.SIGKILL)
            return
        self._catalog.credit(self)
        self._catalog.assign()


class Catalog:
    def __init__(self, hub: Hub, nursery: Nursery, adopt: Adopt) -> None:
        self._hub = hub
        self._nursery = nursery
        self._adopt = adopt
        self._workers: list[_Worker] = []
        self._coming = 0
        self._jobs: deque[_Job] = deque()
        self._keys = itertools.count(1)
        self._closed = False
        self._loop = asyncio.get_running_loop()

    @property
    def busy(self) -> bool:
        return bool(self._jobs) or any(worker.job is not None for worker in self._workers)

    def ask(self, command: Command, connection: Connection) -> None:
        """Pass a client's request on; the answer goes to the client as it is."""
        self._add(_Job(command, connection, None))

    async def serve(self, command: Command, connection: Connection) -> None:
        """As `ask`, and wait until it is answered."""
        answer: asyncio.Future[bytes] = self._loop.create_future()
        self._add(_Job(command, connection, answer))
        await answer

    def _add(self, job: _Job) -> None:
        if self._closed:
            job.finish(rpc.error_line(bytes(job.command.id), refusals.shutting_down()))
            return
        self._jobs.append(job)
        self.assign()

    async def call(self, method: str, params: Any, context: Any = None) -> msgspec.Raw:
        """The front's own request.

        Raises:
            RpcError: the catalog's refusal.
        """
        answer: asyncio.Future[bytes] = self._loop.create_future()
        command = Command(
            id=msgspec.Raw(b"0"),
            method=method,
            params=msgspec.Raw(_encode(params)),
            experimental=True,  # whether the client may was looked at before
            context=msgspec.Raw(_encode(context or {})),
        )
        self._add(_Job(command, None, answer))
        reply = msgspec.json.decode(await answer, type=_Reply)
        if reply.error is not None:
            raise rpc.RpcError(reply.error.message, reply.error.code, reply.error.data)
        return reply.result

    def assign(self) -> None:
        for worker in self._workers:
            if not self._jobs:
                return
            if worker.job is None:
                job = self._jobs.popleft()
                job.attempts += 1
                key = next(self._keys)
                worker.job = (key, job)
                self._loop.call_later(JOB_TIMEOUT_S, self._overdue, worker, key)
                self._hub.send(worker.handle.token, Frame.COMMAND, key, _encode(job.command))
        if self._jobs and len(self._workers) + self._coming < WORKERS and not self._closed:
            self._coming += 1
            self._nursery.adopt(self._employ, self._cannot_start)

    def _overdue(self, worker: _Worker, key: int) -> None:
        """A file system that does not answer keeps its worker, not the client."""
        if worker.job is not None and worker.job[0] == key:
            worker.job[1].attempts = ATTEMPTS
            worker.handle.signal(signal.SIGKILL)

    def _employ(self, handle: Handle) -> None:
        self._coming -= 1
        worker = _Worker(self, handle)
        self._workers.append(worker)
        self._hub.attach(handle.token, worker)
        handle.exited.add_done_callback(lambda _: self._died(worker))
        self._hub.send(handle.token, Frame.ADOPT, 0, _encode(self._adopt))
        self.assign()

    def _cannot_start(self, error: LaunchError) -> None:
        self._coming -= 1
        jobs, self._jobs = self._jobs, deque()
        for job in jobs:
            job.finish(rpc.error_line(bytes(job.command.id), refusals.no_worker(error)))

    def credit(self, worker: _Worker) -> None:
        if worker.unacknowledged:
            self._hub.send(worker.handle.token, Frame.CREDIT, worker.unacknowledged)
            worker.unacknowledged = 0

    def _died(self, worker: _Worker) -> None:
        self._hub.drain()
        self._hub.detach(worker.handle.token)
        self._workers.remove(worker)
        if worker.job is not None and not self._closed:
            job = worker.job[1]
            log.warning(
                "a catalog worker ended during %s (%s)", job.command.method, worker.handle.exited.result()
            )
            if job.attempts < ATTEMPTS:
                self._jobs.appendleft(job)
            else:
                _refuse(
                    job,
                    f"the stored threads could not be read: the worker ended ({worker.handle.exited.result()})",
                )
        if not self._closed:
            self.assign()

    def close(self) -> None:
        """End the workers; what they were asked is refused."""
        self._closed = True
        jobs = [*self._jobs, *(worker.job[1] for worker in self._workers if worker.job is not None)]
        self._jobs.clear()
        for worker in self._workers:
            worker.job = None
        for job in jobs:
            job.finish(rpc.error_line(bytes(job.command.id), refusals.shutting_down()))
        for worker in self._workers:
            worker.handle.signal(signal.SIGKILL)


def _refuse(job: _Job, text: str) -> None:
    job.finish(rpc.error_line(bytes(job.command.id), rpc.RpcError(text, rpc.INTERNAL_ERROR)))


class _ReplyError(msgspec.Struct):
    code: int
    message: str
    data: Any = None


class _Reply(msgspec.Struct):
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: _ReplyError | None = None
