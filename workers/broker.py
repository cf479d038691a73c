"""Credentials, as a worker gets them: headers for one request, from the front, never from a file."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from protocol.link_calls import Authorization, AuthorizeCall
from workers.link import Link
from workers.models.errors import ProviderUnusableError

__all__ = ["authorizer"]


def authorizer(link: Link, provider: str) -> Callable[[], Awaitable[Authorization]]:
    """A coroutine function that asks the front for the credential headers of `provider`.

    Raises (when called):
        ProviderUnusableError: there are none, with what to do about it.
    """
    question = msgspec.json.encode(AuthorizeCall(provider=provider))

    async def authorize() -> Authorization:
        answer = msgspec.json.decode(await link.call(question), type=Authorization)
        if answer.problem is not None:
            raise ProviderUnusableError(answer.problem)
        return answer

    return authorize


def headers_of(
    authorize: Callable[[], Awaitable[Authorization]],
) -> Callable[[], Awaitable[Mapping[str, str]]]:
    async def headers() -> Mapping[str, str]:
        return (await authorize()).headers

    return headers
