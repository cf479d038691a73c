"""`bulkhead logout`: revoke the login, as far as the issuer answers, and delete it wherever it is kept."""

from __future__ import annotations

import argparse

from supervisor import exit_codes
from supervisor.accounts import Accounts
from supervisor.commands.login import with_accounts
from supervisor.configuration import Configuration


def arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(options: argparse.Namespace) -> int:
    return with_accounts(options, _log_out)


async def _log_out(_options: argparse.Namespace, _configuration: Configuration, accounts: Accounts) -> int:
    print("Logged out." if await accounts.keeper.log_out() else "There was no login.")
    return exit_codes.OK
