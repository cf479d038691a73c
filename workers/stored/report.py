"""A feedback report: a ZIP file with what the user said and, if asked for, the evidence, secrets taken out."""

from __future__ import annotations

import os
import platform
import stat
import tempfile
import time
import uuid
import zipfile
from collections.abc import Sequence

import msgspec

from protocol.feedback import FeedbackUploadParams
from protocol.session import PROTOCOL_VERSION
from workers.stored.redaction import Redactor

__all__ = ["ATTACHMENT_MAX_BYTES", "Attachment", "AttachmentError", "write_report"]

ATTACHMENT_MAX_BYTES = 8 * 1024 * 1024
"""Of a longer file the end is taken: what went wrong is there."""
REPORT_MAX_BYTES = 32 * 1024 * 1024
"""Of all attachments together, before compression; what does not fit is named in the manifest and left out."""


class AttachmentError(Exception):
    """A file that was asked for by name cannot be had."""


class Attachment(msgspec.Struct, kw_only=True):
    """`path` None: `text` is it. `name` is that within the ZIP file."""

    name: str
    path: str | None = None
    text: bytes = b""


class _Entry(msgspec.Struct, kw_only=True):
    """A line of the manifest. `bytes` is what was put in, before compression."""

    name: str
    source: str | None
    bytes: int
    cut: bool = False
    left_out: bool = False


def write_report(
    target: str,
    params: FeedbackUploadParams,
    thread_id: str,
    attachments: Sequence[Attachment],
    redactor: Redactor,
) -> None:
    """Make the file `target`, private and as a whole.

    :raises AttachmentError: a file cannot be read.
    :raises FileExistsError: `target` is there.
    :raises OSError: it cannot be written.
    """
    if os.path.lexists(target):
        raise FileExistsError
    descriptor, fresh = tempfile.mkstemp(prefix=".feedback.", dir=os.path.dirname(target))
    try:
        with open(descriptor, "wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("report.json", redactor.clean(_report(params, thread_id)))
                manifest = _attach(archive, attachments, redactor)
                archive.writestr("manifest.json", msgspec.json.encode(manifest))
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, target)
    except BaseException:
        os.unlink(fresh)
        raise


def _report(params: FeedbackUploadParams, thread_id: str) -> bytes:
    tags = {
        **(params.tags or {}),
        "classification": params.classification,
        "cli_version": PROTOCOL_VERSION,
        "platform": platform.platform(),
        "server": "bulkhead",
        "session_source": "vscode",
        "thread_id": thread_id,
    }
    if params.reason is not None:
        tags["reason"] = params.reason
    return msgspec.json.encode(
        {
            "event_id": uuid.uuid4().hex,
            "level": "info",
            "message": f"[{params.classification}] thread {thread_id}",
            "timestamp": time.time(),
            "tags": tags,
        }
    )


def _attach(archive: zipfile.ZipFile, attachments: Sequence[Attachment], redactor: Redactor) -> list[_Entry]:
    entries: list[_Entry] = []
    left = REPORT_MAX_BYTES
    names: set[str] = set()
    for attachment in attachments:
        data, cut = _content(attachment)
        data = redactor.clean(data)
        name = attachment.name
        if name in names:
            name = f"{len(names)}-{name}"
        names.add(name)
        entry = _Entry(name=name, source=attachment.path, bytes=len(data), cut=cut)
        if len(data) > left:
            entry.left_out, entry.bytes = True, 0
        else:
            left -= len(data)
            archive.writestr(name, data)
        entries.append(entry)
    return entries


def _content(attachment: Attachment) -> tuple[bytes, bool]:
    """The end of it, from the beginning of a line, and whether that is not all."""
    if attachment.path is None:
        return attachment.text[-ATTACHMENT_MAX_BYTES:], len(attachment.text) > ATTACHMENT_MAX_BYTES
    try:
        # Not blocking: a pipe without a writer would keep us for ever.
        with open(os.open(attachment.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise AttachmentError(
                    f"failed to read selected attachment {attachment.path}: not a regular file"
                )
            cut = found.st_size > ATTACHMENT_MAX_BYTES
            if cut:
                file.seek(-ATTACHMENT_MAX_BYTES, os.SEEK_END)
                file.readline(ATTACHMENT_MAX_BYTES)
            return file.read(ATTACHMENT_MAX_BYTES), cut
    except OSError as error:
        raise AttachmentError(
            f"failed to read selected attachment {attachment.path}: {error.strerror} (os error {error.errno})"
        ) from error
