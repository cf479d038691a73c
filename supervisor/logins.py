"""The login under way, of those that a person has to see to. There is one at a time: the next ends it."""

from __future__ import annotations

import asyncio
import importlib
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from auth.account import account_of
from auth.errors import LoginError, StorageError
from auth.record import AuthRecord
from protocol.accounts import LoginCompleted
from supervisor.accounts import Accounts, Tell
from supervisor.configuration import Configuration

if TYPE_CHECKING:
    from auth.login import BrowserLogin, DeviceLogin

__all__ = ["Logins"]

log = logging.getLogger("bulkhead.logins")

_SERVER = "Login server error: "
_REPLACED = _SERVER + "Login cancelled"
_NOT_COMPLETED = "Login was not completed"
_BROWSER_NOT_COMPLETED = _SERVER + _NOT_COMPLETED


class Flow(Protocol):
    """A login that a person has to see to (`auth.login`)."""

    async def record(self, timeout_s: float) -> AuthRecord: ...


Close = Callable[[bool], Awaitable[None]]
"""Gets whether the login succeeded."""


class Attempt:
    """`why`: the error that its end by our hand is told with."""

    def __init__(self, flow: Flow, why: str, close: Close) -> None:
        self.id = str(uuid.uuid4())
        self.flow = flow
        self.why = why
        self.close = close
        self.task: asyncio.Task[None] | None = None


class Logins:
    """`tell` sends a notification to all clients."""

    def __init__(self, configuration: Configuration, accounts: Accounts, tell: Tell) -> None:
        self._configuration = configuration
        self._accounts = accounts
        self._tell = tell
        self._attempt: Attempt | None = None
        self._lingering: set[asyncio.Future[None]] = set()

    async def begin_browser(self, originator: str) -> tuple[str, BrowserLogin]:
        """The id of the login, and what to show.

        :raises LoginError: there is no port for the browser to come back to.
        :raises StorageError: a login could not be kept.
        """
        await self.end(by_browser=True)
        await self._accounts.keeper.probe()
        login = await asyncio.to_thread(importlib.import_module, "auth.login")
        issuer = await self._accounts.issuer()
        flow: BrowserLogin = login.BrowserLogin(issuer, originator, self._accounts.workspaces)
        port = self._configuration.settings.bulkhead.login_port
        await (flow.open() if port is None else flow.open((port,)))
        attempt = Attempt(flow, _BROWSER_NOT_COMPLETED, lambda well: flow.close(linger=well))
        return self._begin(attempt), flow

    async def begin_device(self) -> tuple[str, DeviceLogin]:
        """Raises as `begin_browser`; LoginError if the issuer gives no code."""
        await self.end()
        await self._accounts.keeper.probe()
        login = await asyncio.to_thread(importlib.import_module, "auth.login")
        flow: DeviceLogin = login.DeviceLogin(await self._accounts.issuer(), self._accounts.workspaces)
        await flow.open()
        return self._begin(Attempt(flow, _NOT_COMPLETED, _nothing)), flow

    def cancel(self, login_id: str) -> bool:
        """Whether that login was under way."""
        attempt = self._attempt
        if attempt is None or attempt.id != login_id or attempt.task is None:
            return False
        self._attempt = None
        attempt.task.cancel()
        return True

    async def end(self, *, by_browser: bool = False) -> None:
        """End the login under way, if any, and the last one's wait for its browser.

        `by_browser`: another such login wants the port, which the clients of the first are told in Codex's words.
        """
        for closing in tuple(self._lingering):
            closing.cancel()
        attempt, self._attempt = self._attempt, None
        if attempt is not None and attempt.task is not None:
            if by_browser and attempt.why == _BROWSER_NOT_COMPLETED:
                attempt.why = _REPLACED
            attempt.task.cancel()
            await asyncio.wait({attempt.task})

    def _begin(self, attempt: Attempt) -> str:
        self._attempt = attempt
        attempt.task = asyncio.ensure_future(self._see_through(attempt))
        return attempt.id

    async def _see_through(self, attempt: Attempt) -> None:
        error: str | None = None
        record: AuthRecord | None = None
        try:
            record = await attempt.flow.record(self._configuration.settings.bulkhead.login_timeout_s)
            self._forget(attempt)  # it cannot be cancelled from here on
            await self._accounts.keeper.log_in(record)
        except asyncio.CancelledError:
            error = attempt.why
        except StorageError as failure:
            error = f"failed to save the login: {failure}"
        except LoginError as failure:
            error = str(failure)
        except Exception:
            log.exception("a login failed")
            error = "internal error"
        self._forget(attempt)
        completed = LoginCompleted(login_id=attempt.id, success=error is None, error=error)
        self._tell("account/login/completed", completed)
        if error is None:
            self._accounts.updated(account_of(record), again=True)
        closing = asyncio.ensure_future(attempt.close(error is None))
        self._lingering.add(closing)
        closing.add_done_callback(self._lingering.discard)
        if error is not None:
            await asyncio.shield(closing)  # whoever waits for us may want the port

    def _forget(self, attempt: Attempt) -> None:
        if self._attempt is attempt:
            self._attempt = None


async def _nothing(_succeeded: bool) -> None:
    pass
