"""One request over HTTP from the catalog worker, whose methods may wait."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import httpx

from network.transport import NetworkSettingError, make_client
from protocol.session import PROTOCOL_VERSION

__all__ = ["HttpError", "request"]


class HttpError(Exception):
    """No answer, not in time, too long, or not one of success."""


def request(
    method: str,
    url: str,
    *,
    timeout_s: float,
    answer_max_bytes: int,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    content: bytes | None = None,
) -> bytes:
    """The body of the answer; `timeout_s` is for all of it.

    :raises HttpError:
    """

    async def ask() -> bytes:
        async with (
            asyncio.timeout(timeout_s),
            make_client(user_agent=f"bulkhead/{PROTOCOL_VERSION}", originator="bulkhead") as client,
            client.stream(
                method, url, params=dict(query or {}), headers=dict(headers or {}), content=content
            ) as response,
        ):
            if not response.is_success:
                raise HttpError(f"{url} answered {response.status_code}")
            body = bytearray()
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > answer_max_bytes:
                    raise HttpError(f"the answer of {url} is too long")
            return bytes(body)

    # The loop of this process is in the middle of the method that waits here.
    with ThreadPoolExecutor(1) as thread:
        try:
            return thread.submit(asyncio.run, ask()).result()
        except TimeoutError as error:
            raise HttpError(f"no answer from {url} within {timeout_s:.0f} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, NetworkSettingError) as error:
            raise HttpError(f"{url}: {error!r}") from error
