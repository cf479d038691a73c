"""The one holder of credentials in a process: what is stored, kept fresh, and given out.

A refresh token works once. So one refresh runs at a time in a process, whoever waits shares its outcome; and one at a
time in a home, because it is made under the home's lock and with the record as it is then, which another process may
have refreshed meanwhile. A refresh once begun is finished and stored whatever becomes of those who wait for it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

import msgspec

from auth.account import external_record, now_text
from auth.claims import claims_of
from auth.errors import RefreshError, RefreshRefusedError, StorageError
from auth.home_lock import home_lock
from auth.record import AuthRecord, mode_of
from auth.storage import FileStorage
from auth.stores import EphemeralStorage, Storage

if TYPE_CHECKING:  # httpx comes with it, which most servers never need
    from auth.issuer import Issuer, TokenReply

__all__ = ["Keeper", "fingerprint"]

log = logging.getLogger("bulkhead.auth")

STALE_AFTER = dt.timedelta(days=8)
"""For access tokens that do not tell when they expire; Codex's number."""
RETRY_DELAYS_S = (0.3, 1.0)
"""After an answer that says nothing about the token. A token that was taken all the same is lost either way."""

Reason = Literal["forced", "proactive_expiry"]
RenewExternal = Callable[[str | None], Awaitable[tuple[str, str, str | None]]]
"""Asks the client for tokens: previous account -> access token, account, plan. Raises RefreshError."""


class Keeper:
    """The one login of a server: read from its storage or supplied by a client, and refreshed once for all who ask."""

    def __init__(
        self,
        storage: Storage,
        home: str,
        issuer: Callable[[], Awaitable[Issuer]],
        allows: Callable[[AuthRecord], bool] = lambda _: True,
    ) -> None:
        """`issuer` is awaited at the first need. A stored login that is not allowed is as none."""
        self._allows = allows
        self._barred = False
        self._storage = storage
        self._home = home
        self._issuer = issuer
        self._external: AuthRecord | None = None
        self._cached: AuthRecord | None = None
        self._is_cached = False
        self._unsaved: AuthRecord | None = None
        self._turn = asyncio.Lock()
        """Whoever changes the login waits for whoever was before: after a logout there is none, whatever ran then."""
        self._running: asyncio.Task[AuthRecord] | None = None
        self._refused: dict[str, str] = {}
        """Refresh tokens (their fingerprints) that the issuer will never take, and what it said."""
        self._born_expired: set[str] = set()
        """Access tokens that were expired when they came: a clock is wrong, and refreshing will not mend it."""
        self.renew_external: RenewExternal | None = None

    # --- what there is -----------------------------------------------------------------------------------

    @property
    def place(self) -> str:
        return "the client's memory" if self._external else self._storage.place

    @property
    def external(self) -> bool:
        """Whether a client supplies the tokens."""
        return self._external is not None

    async def current(self, *, anew: bool = False) -> AuthRecord | None:
        """The login as it is stored. `anew`: also where that takes long.

        :raises StorageError: it cannot be read.
        """
        record = await self._stored(anew=anew)
        barred = record is not None and not self._allows(record)
        if barred and not self._barred:
            log.warning("the configuration does not allow the stored login: it is not used")
        self._barred = barred
        return None if barred else record

    async def _stored(self, *, anew: bool = False) -> AuthRecord | None:
        if self._external is not None:
            return self._external
        if self._unsaved is not None:
            return self._unsaved
        if isinstance(self._storage, FileStorage):
            return self._storage.load()  # a page of a local file: a thread would cost more
        if anew or not self._is_cached:
            self._cached = await asyncio.to_thread(self._storage.load)
            self._is_cached = True
        return self._cached

    def refusal(self, record: AuthRecord) -> str | None:
        """Why the record can never be refreshed again, if that is known."""
        return self._refused.get(fingerprint(record.tokens.refresh_token)) if record.tokens else None

    # --- fresh tokens --------------------------------------------------------------------------------------

    async def fresh(self) -> AuthRecord | None:
        """The login with an access token that has not expired.

        :raises RefreshError: it has, and there is no new one.
        :raises StorageError: see `current`.
        """
        record = await self.current()
        if record is None or not self._expired(record):
            return record
        return await self._renewed(record, "proactive_expiry")

    async def renewed(self, rejected: str | None = None) -> AuthRecord | None:
        """The login with another access token than the one of the fingerprint `rejected`, or just a new one.

        :raises RefreshError: there is none.
        :raises StorageError: see `current`.
        """
        record = await self.current(anew=True)
        if record is None or record.tokens is None or mode_of(record) == "apikey":
            return record
        if rejected is not None and fingerprint(record.tokens.access_token) != rejected:
            return record
        if self._external is not None and rejected is None:
            return record  # nobody has complained
        return await self._renewed(record, "forced")

    def _expired(self, record: AuthRecord) -> bool:
        tokens = record.tokens
        if mode_of(record) != "chatgpt" or tokens is None or not tokens.refresh_token:
            return False
        if fingerprint(tokens.access_token) in self._born_expired:
            return False
        expires_at = claims_of(tokens.access_token).expires_at
        if expires_at is not None:
            return expires_at <= time.time()
        try:
            refreshed_at = dt.datetime.fromisoformat(record.last_refresh or "")
        except ValueError:
            return False
        if refreshed_at.tzinfo is None:
            refreshed_at = refreshed_at.replace(tzinfo=dt.UTC)
        return refreshed_at < dt.datetime.now(dt.UTC) - STALE_AFTER

    async def _renewed(self, record: AuthRecord, reason: Reason) -> AuthRecord:
        """Join the refresh that runs, or begin one."""
        if self._running is None:
            work = self._renew_external(record) if self._external else self._refresh(record, reason)
            self._running = asyncio.ensure_future(work)
            self._running.add_done_callback(self._finished)
        return await asyncio.shield(self._running)

    def _finished(self, task: asyncio.Task[AuthRecord]) -> None:
        self._running = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("the login could not be refreshed: %s", error)

    async def _refresh(self, seen: AuthRecord, reason: Reason) -> AuthRecord:
        async with self._lock():
            record = await self.current(anew=True)
            if record is None or record.tokens is None:
                raise RefreshError("there is no login any more")
            assert seen.tokens is not None
            if record.tokens.access_token != seen.tokens.access_token and not self._expired(record):
                return record  # another process was first
            mark = fingerprint(record.tokens.refresh_token)
            if mark in self._refused:
                raise RefreshRefusedError(self._refused[mark])
            try:
                reply = await self._ask(record.tokens.refresh_token, reason)
            except RefreshRefusedError as error:
                self._refused[mark] = str(error)
                raise
            renewed = _with_reply(record, reply)
            if self._expired(renewed):
                log.warning("new tokens are already expired: is the clock of this machine right?")
                self._born_expired.add(fingerprint(reply.access_token or record.tokens.access_token))
            await self._keep(renewed)
            return renewed

    async def _ask(self, refresh_token: str, reason: Reason) -> TokenReply:
        issuer = await self._issuer()
        for delay in RETRY_DELAYS_S:
            try:
                return await issuer.refresh(refresh_token, reason)
            except RefreshRefusedError:
                raise
            except RefreshError as error:
                log.info("%s; it is tried again", error)
            await asyncio.sleep(delay)
        return await issuer.refresh(refresh_token, reason)

    async def _keep(self, record: AuthRecord) -> None:
        """Store what cannot be had a second time; where that fails this process at least goes on with it."""
        self._unsaved = record
        try:
            await self._save(record)
        except StorageError:
            log.exception("refreshed tokens could not be stored; they end with this process")

    async def _renew_external(self, record: AuthRecord) -> AuthRecord:
        if self.renew_external is None:
            raise RefreshError("nobody supplies tokens any more")
        access_token, account, plan = await self.renew_external(
            record.tokens.account if record.tokens else None
        )
        renewed = external_record(access_token, account, plan)
        if self._external is record:
            self._external = renewed
        return self._external or renewed  # the client may have logged in anew meanwhile

    # --- logins and logouts -----------------------------------------------------------------------------------

    async def probe(self) -> None:
        """:raises StorageError: a login could not be kept."""
        await asyncio.to_thread(self._storage.probe)

    async def log_in(self, record: AuthRecord) -> None:
        """:raises StorageError: it cannot be stored; the old login is then as it was."""
        async with self._lock():
            await self._save(record)
            self._external = None

    def log_in_external(self, record: AuthRecord) -> None:
        self._external = record

    async def log_out(self) -> bool:
        """Forget the login, wherever it is; whether there was one. Tells the issuer, as far as it answers.

        :raises StorageError: it cannot be deleted.
        """
        if self._external is not None:
            self._external = None
            return True
        async with self._lock():
            try:
                record = await self._stored(anew=True)
            except StorageError:
                record = None  # a damaged record is deleted all the same
            if record is not None and record.tokens is not None and record.tokens.refresh_token:
                await (await self._issuer()).revoke(record.tokens.refresh_token)
            self._cached, self._is_cached, self._unsaved = None, False, None
            return await asyncio.to_thread(self._storage.delete)

    async def _save(self, record: AuthRecord) -> None:
        self._is_cached = False
        await asyncio.to_thread(self._storage.save, record)
        self._cached, self._is_cached, self._unsaved = record, True, None

    @asynccontextmanager
    async def _lock(self) -> AsyncIterator[None]:
        """:raises StorageError: another process does not give it up."""
        async with self._turn:
            if isinstance(self._storage, EphemeralStorage):
                yield
            else:
                async with home_lock(self._home):
                    yield


def fingerprint(secret: str) -> str:
    """Names a secret without telling it."""
    return hashlib.sha256(secret.encode()).hexdigest()[:16]


def _with_reply(record: AuthRecord, reply: TokenReply) -> AuthRecord:
    assert record.tokens is not None
    told = {name: value for name, value in msgspec.structs.asdict(reply).items() if value}
    tokens = msgspec.structs.replace(record.tokens, **told)
    return msgspec.structs.replace(record, tokens=tokens, last_refresh=now_text())
