"""Plays the browser of a recording: fetches the addresses it went to, at the live server, and compares the answers."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from trace_line import Difference

__all__ = ["Browser"]

PATIENCE_S = 20.0


class Browser:
    """Learns from the answers to a login's start what the live server calls what the recording names."""

    def __init__(self) -> None:
        self._renamed: dict[str, str] = {}

    def learn(self, recorded: dict[str, Any], live: dict[str, Any]) -> None:
        """Both are messages of the server at the same place."""
        addresses = [(message.get("result") or {}).get("authUrl") for message in (recorded, live)]
        if all(isinstance(address, str) for address in addresses):
            one, other = (dict(parse_qsl(urlsplit(address).query)) for address in addresses)
            self._renamed |= {one["state"]: other["state"], one["redirect_uri"]: other["redirect_uri"]}
            bases = [f"http://{urlsplit(query['redirect_uri']).netloc}/" for query in (one, other)]
            self._renamed[bases[0]] = bases[1]

    def visit(self, recorded: dict[str, Any]) -> Iterator[Difference]:
        """`recorded` says where the browser went (`GET`), what came (`status` or `error`) and its beginning (`body`)."""
        address = str(recorded["GET"])
        for name, live in self._renamed.items():
            address = address.replace(name, live)
        where = f"the browser at {urlsplit(address).path}"
        told = str(recorded.get("status") or recorded.get("error"))
        status, body = _fetch(address)
        if str(status) not in told:
            yield Difference(where, "", "status", "value", told, str(status))
        page = str(recorded.get("body", ""))
        if not page.startswith("<") and body != page:
            yield Difference(where, "", "body", "value", page, body)


def _fetch(address: str) -> tuple[int, str]:
    """Redirections included; no proxy is asked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(address, timeout=PATIENCE_S) as response:
            return response.status, response.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode("utf-8", "replace")
    except OSError as error:
        return 0, str(error)
