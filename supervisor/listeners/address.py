"""What `--listen` can name, with the words of the peer for what it cannot."""

from __future__ import annotations

import ipaddress
import os

import msgspec

__all__ = ["Address", "ListenError", "Nowhere", "Stdio", "UnixSocket", "WebSocketPort", "parse_listen"]

DEFAULT_SOCKET = ("app-server-control", "app-server-control.sock")
"""Below the home; where the peer's clients look for a server that they did not start."""
EXPECTED = "expected `stdio://`, `unix://`, `unix://PATH`, `ws://IP:PORT`, or `off`"


class ListenError(ValueError):
    """The text says what is wrong with the address, and what would be right."""


class Stdio(msgspec.Struct, frozen=True):
    def __str__(self) -> str:
        return "stdio://"


class UnixSocket(msgspec.Struct, frozen=True):
    path: str

    def __str__(self) -> str:
        return f"unix://{self.path}"


class WebSocketPort(msgspec.Struct, frozen=True):
    """`port` 0 is any free one."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        return ipaddress.ip_address(self.host).is_loopback

    @property
    def authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"ws://{self.authority}"


class Nowhere(msgspec.Struct, frozen=True):
    """`off`: no clients of this kind."""


Address = Stdio | UnixSocket | WebSocketPort | Nowhere


def parse_listen(url: str, home: str) -> Address:
    """The address that a `--listen` URL names; a relative path is below the working directory.

    Raises:
        ListenError
    """
    if url == "stdio://":
        return Stdio()
    if url == "off":
        return Nowhere()
    scheme, separator, rest = url.partition("://")
    if separator and scheme == "unix":
        return UnixSocket(os.path.abspath(rest) if rest else os.path.join(home, *DEFAULT_SOCKET))
    if separator and scheme == "ws":
        host, _, port = rest.rpartition(":")
        try:
            address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
            number = int(port) if port.isascii() and port.isdigit() else -1
        except ValueError:
            number = -1
        if not 0 <= number < 1 << 16:
            raise ListenError(f"invalid websocket --listen URL `{url}`; expected `ws://IP:PORT`")
        return WebSocketPort(str(address), number)
    raise ListenError(f"unsupported --listen URL `{url}`; {EXPECTED}")
