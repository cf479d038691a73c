"""The front's leave for one response of a model: the headers of each try, the place that it takes, new tokens."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import msgspec

from protocol.link_calls import Authorization, AuthorizeCall, StreamEnded, Throttled
from workers.link import Link
from workers.models.errors import ProviderUnusableError

__all__ = ["Admission", "authorization_for"]

MOST_RENEWALS = 2
"""The first may only find tokens that another process has stored, which may be as old."""
_numbers = itertools.count(1)


async def authorization_for(link: Link, call: AuthorizeCall) -> Authorization:
    """Ask the front.

    Raises:
        ProviderUnusableError: there are no credentials, with what to do about it.
    """
    answer = msgspec.json.decode(await link.call(msgspec.json.encode(call)), type=Authorization)
    if answer.problem is not None:
        raise ProviderUnusableError(answer.problem)
    return answer


class Admission:
    """Of one `open_stream` (see `workers.models.request.Admission`). `known` serves the first try where it may."""

    def __init__(self, link: Link, provider: str, known: Authorization | None = None) -> None:
        self._link = link
        self._provider = provider
        self._known = known
        self._stream = 0
        self._mark: str | None = None
        self._renewals = 0

    async def headers(self) -> Mapping[str, str]:
        """The credentials of one try, as soon as it may begin.

        Raises:
            ProviderUnusableError: there are none.
        """
        known, self._known = self._known, None
        if known is None or known.metered:
            self._stream = next(_numbers)
            try:
                known = await authorization_for(
                    self._link, AuthorizeCall(provider=self._provider, stream=self._stream)
                )
            except BaseException:
                self.ended()  # also the wait, if it is that which was given up
                raise
        self._mark = known.mark
        return known.headers

    def ended(self) -> None:
        """The try is over, well or not; its place is free."""
        if self._stream:
            self._tell(StreamEnded(provider=self._provider, stream=self._stream))
            self._stream = 0

    def throttled(self, wait_s: float) -> None:
        """The provider wants everybody to wait."""
        self._tell(Throttled(provider=self._provider, wait_s=wait_s))

    async def renewed(self) -> bool:
        """After a 401: whether there are other credentials to try."""
        if self._mark is None or self._renewals >= MOST_RENEWALS:
            return False
        self._renewals += 1
        call = AuthorizeCall(provider=self._provider, rejected=self._mark)
        try:
            known = await authorization_for(self._link, call)
        except ProviderUnusableError:
            return False
        if known.mark == self._mark:
            return False
        self._known = known
        return True

    def _tell(self, call: StreamEnded | Throttled) -> None:
        self._link.tell(msgspec.json.encode(call))
