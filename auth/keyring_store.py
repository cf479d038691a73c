"""The store `keyring`: Secret Service on Linux, what the package `keyring` finds elsewhere."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile

import msgspec

from auth.errors import KeyringUnavailableError
from auth.keyring_process import NO_SERVICE, SERVICE, Operation, Order, Outcome
from auth.record import AuthRecord, read_record, write_record

__all__ = ["DEFAULT_TIMEOUT_S", "KeyringStorage", "account_name"]

DEFAULT_TIMEOUT_S = 20.0
"""Long enough for a person to unlock the keyring, short enough not to hold up a login for ever where nobody is."""
_FAILURE = "Platform secure storage failure: "


def account_name(home: str) -> str:
    """The name of the item for a home: one for each path."""
    return "cli|" + hashlib.sha256(os.path.realpath(home).encode()).hexdigest()[:16]


class KeyringStorage:
    """Each operation is a child process that is given up after `timeout_s`: see `auth.keyring_process`."""

    def __init__(self, home: str, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._account = account_name(home)
        self._timeout_s = timeout_s

    @property
    def place(self) -> str:
        return f"the system's keyring (service {SERVICE}, account {self._account})"

    def probe(self) -> None:
        """Write, read and delete something of no value.

        :raises KeyringUnavailableError: the keyring is not there, hangs, or does not keep what it is given.
        """
        self._run("probe")

    def load(self) -> AuthRecord | None:
        """The item's record.

        :raises KeyringUnavailableError: see `probe`.
        :raises StorageError: what is in it is no record.
        """
        secret = self._run("load").secret
        return None if secret is None else read_record(secret, self.place)

    def save(self, record: AuthRecord) -> None:
        """:raises KeyringUnavailableError: see `probe`; the old item is then as it was, or gone."""
        self._run("save", write_record(record).decode())

    def delete(self) -> bool:
        """:raises KeyringUnavailableError: see `probe`."""
        return self._run("delete").found

    def _run(self, operation: Operation, secret: str = "") -> Outcome:
        order = msgspec.json.encode(Order(operation, self._account, secret))
        argv = [sys.executable, "-P", "-m", "auth.keyring_process"]
        # Not a pipe: whatever a hanging daemon's client leaves open must not be waited for.
        with tempfile.TemporaryFile() as complaints:
            try:
                done = subprocess.run(
                    argv,
                    input=order,
                    stdout=subprocess.PIPE,
                    stderr=complaints,
                    timeout=self._timeout_s,
                    check=False,
                    start_new_session=True,
                )
                outcome = msgspec.json.decode(done.stdout, type=Outcome)
            except subprocess.TimeoutExpired:
                problem = f"no answer within {self._timeout_s:g} s"
                raise KeyringUnavailableError(_FAILURE + problem) from None
            except OSError as error:
                raise KeyringUnavailableError(_FAILURE + str(error)) from error
            except msgspec.DecodeError:
                raise KeyringUnavailableError(f"{_FAILURE}its client ended ({done.returncode})") from None
        if outcome.problem is not None:
            problem = outcome.problem
            if problem == NO_SERVICE:
                # Each layer of the peer's says it again.
                problem = f"{NO_SERVICE}: {_FAILURE}{NO_SERVICE}: {NO_SERVICE}"
            raise KeyringUnavailableError(_FAILURE + problem)
        return outcome
