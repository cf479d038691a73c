"""`config.toml` written: one writer at a time, all or nothing, checked before it counts."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence

import tomli

from config.document import CONFIG_FILE, Document, Layer, Origin, read_text
from config.edits import MISSING, Edit, edit_text, lookup
from config.effective import metadata_of, version_of
from config.errors import ConfigWriteError, InvalidSettingError, MalformedConfigError
from config.mcp_servers import mcp_servers_of
from config.providers import providers_of
from config.settings import settings_of
from protocol.configuration import ConfigWriteResponse, OverriddenMetadata

__all__ = ["set_values", "write_config"]

LOCK_FILE = "config.toml.lock"
LOCK_PATIENCE_S = 10.0
"""A write takes milliseconds; whoever holds the lock longer is stopped or hangs on its disk."""
LOCK_LOOK_S = 0.01
NEW_FILE_MODE = 0o600
LEGACY_KEY = "profile"


def write_config(
    home: str,
    edits: Sequence[Edit],
    load: Callable[[], Document],
    *,
    expected_version: str | None = None,
    file_path: str | None = None,
) -> ConfigWriteResponse:
    """Make the edits, all or none, and tell whether they count; `load` reads all layers as they are then.

    :raises ConfigWriteError: it is refused, the file is as it was.
    :raises MalformedConfigError: the file is no TOML.
    :raises OSError: it cannot be written.
    """
    file = os.path.join(home, CONFIG_FILE)
    if file_path is not None and os.path.normpath(os.path.join(home, file_path)) != file:
        raise ConfigWriteError("Only writes to the user config are allowed", "configLayerReadonly")
    for edit in edits:
        if edit.path == (LEGACY_KEY,) and edit.value is not None:
            raise ConfigWriteError(
                "`profile` is a legacy config selector and can no longer be written; use `--profile <name>` with "
                "`<name>.config.toml` instead"
            )
    with _locked(home):
        text = _read(file)
        values = _values(file, text)
        if expected_version is not None and expected_version != version_of(values):
            raise ConfigWriteError(
                "Configuration was modified since last read. Fetch latest version and retry.",
                "configVersionConflict",
            )
        edited = edit_text(text, values, edits)
        wanted = tomli.loads(edited)
        _check(wanted)
        if edited != text:
            _replace(file, edited)
    overridden = _overridden(load(), wanted, edits)
    return ConfigWriteResponse(
        status="ok" if overridden is None else "okOverridden",
        version=version_of(wanted),
        file_path=file,
        overridden_metadata=overridden,
    )


def set_values(home: str, file: str, edits: Sequence[Edit]) -> None:
    """Make edits of the server's own in a file, the user's or a project's. `home` has the lock of all its servers.

    :raises ConfigWriteError: the text cannot be edited in place.
    :raises MalformedConfigError: the file is no TOML.
    :raises OSError: it cannot be written.
    """
    with _locked(home):
        text = _read(file)
        edited = edit_text(text, _values(file, text), edits)
        if edited != text:
            _replace(file, edited)


@contextlib.contextmanager
def _locked(home: str) -> Iterator[None]:
    """Alone among all servers of this home. The lock is a file beside: `config.toml` itself is replaced."""
    descriptor = os.open(os.path.join(home, LOCK_FILE), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, NEW_FILE_MODE)
    try:
        deadline = time.monotonic() + LOCK_PATIENCE_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise OSError(f"{LOCK_FILE} is held by another process") from None
                time.sleep(LOCK_LOOK_S)
        yield
    finally:
        os.close(descriptor)


def _read(file: str) -> str:
    try:
        return read_text(file)
    except FileNotFoundError:
        return ""


def _values(file: str, text: str) -> dict[str, object]:
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise MalformedConfigError(file, error.lineno, error.colno, error.msg) from error


def _check(values: dict[str, object]) -> None:
    """As it would be read, but the refusal names keys only: the lines are those of a file that will not be."""
    document = Document((Layer(Origin("flags"), values),))
    try:
        settings_of(document)
        providers_of(document)
        mcp_servers_of(document)
    except InvalidSettingError as error:
        raise ConfigWriteError(f"Invalid configuration: {error}") from error


def _replace(file: str, text: str) -> None:
    """A new file in the place of the old one, or of what a link names; mode and owner are kept."""
    target = os.path.realpath(file)
    try:
        old = os.stat(target)
    except FileNotFoundError:
        old = None
    descriptor, fresh = tempfile.mkstemp(prefix=f".{CONFIG_FILE}.", dir=os.path.dirname(target))
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fchmod(stream.fileno(), stat.S_IMODE(old.st_mode) if old else NEW_FILE_MODE)
            if old is not None and (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                # Only root may give files away; anybody else keeps what is his.
                with contextlib.suppress(PermissionError):
                    os.fchown(stream.fileno(), old.st_uid, old.st_gid)
            os.fsync(stream.fileno())
        os.replace(fresh, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh)
        raise
    folder = os.open(os.path.dirname(target), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _overridden(
    document: Document, wanted: dict[str, object], edits: Sequence[Edit]
) -> OverriddenMetadata | None:
    """The first edit that another layer hides."""
    merged = document.merged()
    for edit in edits:
        effective = lookup(merged, edit.path, MISSING)
        layer = document.layer_of(edit.path)
        if effective != lookup(wanted, edit.path, MISSING) and layer is not None:
            return OverriddenMetadata(
                message=f"Overridden by {_named(layer.origin)}",
                overriding_layer=metadata_of(layer),
                effective_value=None if effective is MISSING else effective,
            )
    return None


def _named(origin: Origin) -> str:
    if origin.kind == "system":
        return f"managed config (system): {origin.file}"
    if origin.kind == "flags":
        return "session flags"
    return f"{origin.kind} config: {origin.file}"
