"""One operation on the operating system's keyring, in a process of its own.

A keyring's daemon may hang, ask a person, or take its client down with it; whoever started this process can give up
on it. `python -m auth.keyring_process` reads one `Order` as JSON from stdin and writes one `Outcome` to stdout, so
that no secret is ever in a command line or an environment.

On Linux the item has the attributes that Codex gives its own, so that both programs find the same one; the package
`keyring` would give it others. Elsewhere `keyring` does what Codex does.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

import msgspec

__all__ = ["NO_SERVICE", "SERVICE", "Operation", "Order", "Outcome", "main"]

SERVICE = "Codex Auth"
_APPLICATION, _TARGET, _LIBRARY = "rust-keyring", "default", "keyring v3.6.3"
CANARY = "bulkhead-canary"
NO_SERVICE = "no secret service provider or dbus session found"


Operation = Literal["load", "save", "delete", "probe"]


class Order(msgspec.Struct, frozen=True):
    operation: Operation
    account: str
    secret: str = ""

    def __repr__(self) -> str:
        return f"Order({self.operation!r}, {self.account!r})"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """`problem`: why it failed; `secret`: what was loaded; `found`: whether there was an item."""

    problem: str | None = None
    secret: str | None = None
    found: bool = False

    def __repr__(self) -> str:
        return f"Outcome(problem={self.problem!r}, found={self.found})"


class KeyringError(Exception):
    pass


Access = tuple[Callable[[str], str | None], Callable[[str, str], None], Callable[[str], bool]]
"""get, set, delete; each by account."""


def _secret_service() -> Access:
    import secretstorage  # noqa: PLC0415  only on Linux
    from secretstorage.exceptions import SecretServiceNotAvailableException  # noqa: PLC0415

    try:
        collection = secretstorage.get_default_collection(secretstorage.dbus_init())
    except (SecretServiceNotAvailableException, OSError, ValueError) as error:
        raise KeyringError(NO_SERVICE) from error

    def attributes(account: str) -> dict[str, str]:
        return {"application": _APPLICATION, "service": SERVICE, "target": _TARGET, "username": account}

    def unlocked() -> None:
        # Asks the person, if there is one.
        if collection.is_locked() and collection.unlock():
            raise KeyringError("the keyring is locked and was not unlocked")

    def load(account: str) -> str | None:
        unlocked()
        item = next(collection.search_items(attributes(account)), None)
        return None if item is None else item.get_secret().decode()

    def save(account: str, secret: str) -> None:
        unlocked()
        label = f"{account}@{SERVICE}:{_TARGET} ({_LIBRARY})"
        collection.create_item(label, attributes(account), secret.encode(), replace=True)

    def delete(account: str) -> bool:
        unlocked()
        items = list(collection.search_items(attributes(account)))
        for item in items:
            item.delete()
        return bool(items)

    return load, save, delete


def _system_keyring() -> Access:
    import keyring  # noqa: PLC0415  heavy, and not for Linux
    from keyring.errors import PasswordDeleteError  # noqa: PLC0415

    def delete(account: str) -> bool:
        try:
            keyring.delete_password(SERVICE, account)
        except PasswordDeleteError:
            return False
        return True

    return (
        lambda account: keyring.get_password(SERVICE, account),
        lambda account, secret: keyring.set_password(SERVICE, account, secret),
        delete,
    )


def _carry_out(order: Order) -> Outcome:
    load, save, delete = _secret_service() if sys.platform == "linux" else _system_keyring()
    if order.operation == "load":
        secret = load(order.account)
        return Outcome(secret=secret, found=secret is not None)
    if order.operation == "delete":
        return Outcome(found=delete(order.account))
    _prove(load, save, delete)
    if order.operation == "save":
        save(order.account, order.secret)
        if load(order.account) != order.secret:
            with suppress(Exception):
                delete(order.account)
            raise KeyringError("the keyring did not give back what was written")
    return Outcome(found=order.operation == "save")


def _prove(
    load: Callable[[str], str | None], save: Callable[[str, str], None], delete: Callable[[str], bool]
) -> None:
    """Write, read and delete an item without value before one with value is trusted to it."""
    name, value = f"{CANARY}-{secrets.token_hex(4)}", secrets.token_hex(8)
    try:
        save(name, value)
        if load(name) != value:
            raise KeyringError("the keyring did not give back what was written")
    finally:
        with suppress(Exception):
            delete(name)
    if load(name) is not None:
        raise KeyringError("the keyring did not forget what was deleted")


def main() -> int:
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    try:
        outcome = _carry_out(order)
    except Exception as error:  # noqa: BLE001  back ends raise what they like; the text is all that is of use
        outcome = Outcome(problem=str(error) or type(error).__name__)
    sys.stdout.buffer.write(msgspec.json.encode(outcome))
    return 0


if __name__ == "__main__":
    sys.exit(main())
