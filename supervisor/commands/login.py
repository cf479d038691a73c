"""`bulkhead login [status]`: log in for all servers of a home, without a server.

bulkhead login                             a browser on this machine
bulkhead login --device-auth               a code for a browser anywhere
bulkhead login --api-key-stdin < key.txt   an API key; Codex's spelling --with-api-key works too
bulkhead login status                      who is logged in, and where that is kept; exit code 1: nobody
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import webbrowser
from collections.abc import Awaitable, Callable
from contextlib import suppress

from auth.errors import AuthError, LoginError
from auth.login import BrowserLogin, DeviceLogin
from auth.record import AuthRecord
from config.errors import ConfigError
from config.flags import Flags
from config.home import find_home
from supervisor import exit_codes
from supervisor.accounts import Accounts
from supervisor.configuration import Configuration

ORIGINATOR = "bulkhead"
_SHOWN_START, _SHOWN_END = 8, 5
"""Of an API key: enough to tell two apart, as Codex shows."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=["status"], help="show who is logged in")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument(
        "--api-key-stdin", "--with-api-key", action="store_true", help="read an API key from standard input"
    )
    kinds.add_argument(
        "--device-auth", action="store_true", help="log in with a code in a browser on any machine"
    )


def run(options: argparse.Namespace) -> int:
    return with_accounts(options, _status if options.action == "status" else _log_in)


def with_accounts(
    options: argparse.Namespace, work: Callable[[argparse.Namespace, Configuration, Accounts], Awaitable[int]]
) -> int:
    """Carry out `work` for the home of this command line; its exit code."""

    async def main() -> int:
        flags = Flags(
            overrides=tuple(options.config),
            profile=options.profile,
            enable=tuple(options.enable),
            disable=tuple(options.disable),
        )
        configuration = Configuration(find_home(os.environ), flags)
        accounts = Accounts(configuration, lambda _method, _params: None)
        try:
            return await work(options, configuration, accounts)
        finally:
            await accounts.close()

    try:
        return asyncio.run(main())
    except ConfigError as error:
        print(f"bulkhead: {error}", file=sys.stderr)
        return exit_codes.CONFIG
    except AuthError as error:
        print(f"bulkhead: {error}", file=sys.stderr)
        return exit_codes.FAILED


async def _log_in(options: argparse.Namespace, configuration: Configuration, accounts: Accounts) -> int:
    if configuration.settings.cli_auth_credentials_store == "ephemeral":
        raise LoginError(
            'with cli_auth_credentials_store = "ephemeral" a login is in the memory of a server: log in through it'
        )
    if options.api_key_stdin:
        accounts.check("apiKey")
        if sys.stdin.isatty():
            print("Type or paste the API key, then press Enter and Ctrl-D.", file=sys.stderr)
        key = sys.stdin.read().strip()
        if not key:
            raise LoginError("there is no API key on standard input")
        await accounts.log_in_key(key)
    elif options.device_auth:
        accounts.check("chatgptDeviceCode")
        await accounts.keeper.log_in(await _with_code(configuration, accounts))
    else:
        accounts.check("chatgpt")
        await accounts.keeper.log_in(await _with_browser(configuration, accounts))
    print(f"Logged in. The credentials are in {accounts.keeper.place}.")
    return exit_codes.OK


async def _with_code(configuration: Configuration, accounts: Accounts) -> AuthRecord:
    await accounts.keeper.probe()
    login = DeviceLogin(await accounts.issuer(), accounts.workspaces)
    await login.open()
    print(f"Open {login.page} in a browser, log in, and type in this code:\n\n    {login.code}\n", flush=True)
    print("Give the code to nobody: whoever asks you for it wants your account.", flush=True)
    return await login.record(configuration.settings.bulkhead.login_timeout_s)


async def _with_browser(configuration: Configuration, accounts: Accounts) -> AuthRecord:
    await accounts.keeper.probe()
    login = BrowserLogin(await accounts.issuer(), ORIGINATOR, accounts.workspaces)
    port = configuration.settings.bulkhead.login_port
    await (login.open() if port is None else login.open((port,)))
    print(f"Log in on this page, which opens if there is a browser here:\n\n    {login.url}\n", flush=True)
    print("No browser on this machine? `bulkhead login --device-auth`", flush=True)
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or sys.platform == "darwin":
        with suppress(webbrowser.Error):
            await asyncio.to_thread(webbrowser.open, login.url)
    try:
        record = await login.record(configuration.settings.bulkhead.login_timeout_s)
    except LoginError:
        await login.close()
        raise
    await login.close(linger=True)
    return record


async def _status(_options: argparse.Namespace, _configuration: Configuration, accounts: Accounts) -> int:
    found = await accounts.account(renew=False)
    if found is None:
        print("Not logged in.")
        return exit_codes.FAILED
    record, account = found
    if account.mode == "apikey":
        print(f"Logged in with an API key: {_masked(record.api_key or '')}")
    else:
        print(f"Logged in with ChatGPT: {account.email or 'unknown address'}, plan {account.plan}")
    print(f"The credentials are in {accounts.keeper.place}.")
    return exit_codes.OK


def _masked(key: str) -> str:
    if len(key) <= _SHOWN_START + _SHOWN_END:
        return "***"
    return f"{key[:_SHOWN_START]}***{key[-_SHOWN_END:]}"
