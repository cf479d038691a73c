"""The command line of the listeners: `--listen` and who may come in."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import msgspec

from supervisor.listeners.address import Address, ListenError, Nowhere, Stdio, UnixSocket, parse_listen
from supervisor.listeners.bearer import Bearer, BearerOptions, bearer_of
from supervisor.listeners.stdio import StdioListener

if TYPE_CHECKING:
    from supervisor.front import Front

__all__ = ["Listener", "Listening", "add_arguments", "chosen", "open_listeners"]


class Listener(Protocol):
    url: str

    def close(self) -> None:
        """Take no new clients."""

    def let_go(self) -> None:
        """Of those it has: all has been delivered that could be."""


class Listening(msgspec.Struct, frozen=True):
    """What the options ask for, checked."""

    addresses: tuple[Address, ...]
    bearer: Bearer | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--listen", action="append", default=[], metavar="URL",
        help="where clients come from: stdio:// (default), unix://, unix://PATH, ws://IP:PORT, off; "
        "may be given more than once",
    )  # fmt: skip
    parser.add_argument("--stdio", action="store_true", help="the same as --listen stdio://")
    group = parser.add_argument_group("websocket clients")
    group.add_argument(
        "--ws-auth", choices=("capability-token", "signed-bearer-token"), metavar="MODE",
        help="capability-token or signed-bearer-token; required off loopback",
    )  # fmt: skip
    group.add_argument("--ws-token-file", metavar="PATH", help="file with the capability token")
    group.add_argument("--ws-token-sha256", metavar="HEX", help="SHA-256 of the capability token")
    group.add_argument("--ws-shared-secret-file", metavar="PATH", help="secret that signs the JWTs (HS256)")
    group.add_argument("--ws-issuer", metavar="ISSUER", help="issuer that a JWT must name")
    group.add_argument("--ws-audience", metavar="AUDIENCE", help="audience that a JWT must name")
    group.add_argument(
        "--ws-max-clock-skew-seconds", type=int, metavar="SECONDS", help="clocks may differ by so much (30)"
    )


def chosen(options: argparse.Namespace, home: str) -> Listening:
    """What was asked for.

    Raises:
        ListenError: an address that is none, or no address at all.
        BearerError: options of `--ws-*` that do not go together.
    """
    urls = list(options.listen)
    if options.stdio or not urls:
        urls.append("stdio://")
    addresses = tuple(dict.fromkeys(parse_listen(url, home) for url in urls))
    if all(isinstance(address, Nowhere) for address in addresses):
        raise ListenError("no transport configured; use --listen")
    bearer = bearer_of(
        BearerOptions(
            mode=options.ws_auth,
            token_file=options.ws_token_file,
            token_sha256=options.ws_token_sha256,
            secret_file=options.ws_shared_secret_file,
            issuer=options.ws_issuer,
            audience=options.ws_audience,
            max_clock_skew_s=options.ws_max_clock_skew_seconds,
        )
    )
    return Listening(tuple(address for address in addresses if not isinstance(address, Nowhere)), bearer)


def open_listeners(
    front: Front, listening: Listening, stdio: tuple[int, int], stdio_gone: Callable[[], None]
) -> list[Listener]:
    """Listen at all addresses, or at none. `stdio` are the descriptors of stdin and stdout.

    Raises:
        ListenError
    """
    listeners: list[Listener] = []
    try:
        for address in listening.addresses:
            listener = _open(front, address, listening.bearer, stdio, stdio_gone)
            listeners.append(listener)
    except ListenError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _open(
    front: Front,
    address: Address,
    bearer: Bearer | None,
    stdio: tuple[int, int],
    stdio_gone: Callable[[], None],
) -> Listener:
    # Only the modules of what is used are imported: the websocket library costs as much as the rest of the front.
    if isinstance(address, Stdio):
        return StdioListener(front, *stdio, stdio_gone)
    if isinstance(address, UnixSocket):
        from supervisor.listeners.unix import UnixListener  # noqa: PLC0415

        return UnixListener(front, address.path)
    assert not isinstance(address, Nowhere)
    from supervisor.listeners.tcp import WebSocketListener  # noqa: PLC0415

    return WebSocketListener(front, address, bearer)
