"""`feedback/upload` and `feedback/save`: a report made, and sent only where the user configured where to."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from pathlib import Path

import msgspec

from config.errors import ConfigError
from config.settings import settings_of
from protocol.base import Wire
from protocol.feedback import (
    FeedbackSaveParams,
    FeedbackSaveResponse,
    FeedbackUploadParams,
    FeedbackUploadResponse,
)
from protocol.rpc import INTERNAL_ERROR, RpcError
from rollouts.chain import read_meta
from rollouts.errors import RolloutError
from rollouts.ids import canonical_id, new_id
from workers.stored.configuration import load
from workers.stored.http import HttpError
from workers.stored.http import request as ask
from workers.stored.redaction import Redactor
from workers.stored.report import Attachment, AttachmentError, write_report
from workers.stored.request import StoredRequest

__all__ = ["FeedbackContext", "save", "upload"]

FOLDER = "feedback"
FOLDER_MODE = 0o700
SEND_TIMEOUT_S = 60.0
"""A report has up to some megabytes; a catalog worker is busy for as long."""
ANSWER_MAX_BYTES = 64 * 1024
"""Nothing in it is looked at."""


class FeedbackContext(msgspec.Struct):
    """`log`: the front's last log lines."""

    log: str = ""


def upload(request: StoredRequest) -> Wire:
    """A report in the home's folder `feedback`; it stays there when it has been sent, or could not be."""
    params = request.params(FeedbackUploadParams)
    thread_id = _thread_id(params)
    folder = os.path.join(request.home, FOLDER)
    name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{uuid.uuid4().hex[:8]}.zip"
    try:
        os.makedirs(folder, FOLDER_MODE, exist_ok=True)
        prompt_hash = _write(request, params, thread_id, os.path.join(folder, name))
    except (AttachmentError, OSError) as error:
        raise RpcError(f"failed to upload feedback: {error}", INTERNAL_ERROR) from error
    path = os.path.join(folder, name)
    try:
        _send(request, path)
    except (ConfigError, HttpError, OSError) as error:
        raise RpcError(f"failed to upload feedback: {error}; it is kept in {path}", INTERNAL_ERROR) from error
    return FeedbackUploadResponse(prompt_hash=prompt_hash, thread_id=thread_id, saved_path=path)


def save(request: StoredRequest) -> Wire:
    """A report where the client wants it."""
    params = request.params(FeedbackSaveParams)
    if not os.path.isabs(params.save_path):
        raise RpcError("feedback savePath must be an absolute host path")
    thread_id = _thread_id(params)
    try:
        prompt_hash = _write(request, params, thread_id, params.save_path)
    except FileExistsError as error:
        raise RpcError(
            "failed to save feedback: feedback save path already exists", INTERNAL_ERROR
        ) from error
    except AttachmentError as error:
        raise RpcError(f"failed to save feedback: {error}", INTERNAL_ERROR) from error
    except OSError as error:
        text = (
            f"failed to save feedback: {error.strerror} (os error {error.errno}) at path {params.save_path!r}"
        )
        raise RpcError(text, INTERNAL_ERROR) from error
    return FeedbackSaveResponse(saved_path=params.save_path, thread_id=thread_id, prompt_hash=prompt_hash)


def _send(request: StoredRequest, path: str) -> None:
    url = settings_of(load(request)).bulkhead.feedback_url
    if url is None:
        return
    with open(path, "rb") as file:
        ask(
            "POST",
            url,
            headers={"content-type": "application/zip"},
            content=file.read(),
            timeout_s=SEND_TIMEOUT_S,
            answer_max_bytes=ANSWER_MAX_BYTES,
        )


def _thread_id(params: FeedbackUploadParams) -> str:
    if params.thread_id is None:
        return f"no-active-thread-{new_id()}"
    try:
        return canonical_id(params.thread_id)
    except RolloutError as error:
        raise RpcError(f"invalid thread id: {error}") from None


def _write(request: StoredRequest, params: FeedbackUploadParams, thread_id: str, target: str) -> str | None:
    """The hash of the thread's instructions."""
    rollout = _rollout(request, params)
    attachments = []
    if params.include_logs:
        if rollout is not None:
            attachments.append(Attachment(name=os.path.basename(rollout), path=rollout))
        log = request.context(FeedbackContext).log
        attachments.append(Attachment(name="server.log", text=log.encode()))
        attachments += [
            Attachment(name=os.path.basename(path) or "file", path=path)
            for path in params.extra_log_files or ()
        ]
    write_report(target, params, thread_id, attachments, _redactor(request))
    return _prompt_hash(rollout)


def _rollout(request: StoredRequest, params: FeedbackUploadParams) -> str | None:
    if params.thread_id is None:
        return None
    try:
        return request.threads.read(canonical_id(params.thread_id), include_turns=False).path
    except RolloutError:
        return None


def _redactor(request: StoredRequest) -> Redactor:
    try:
        values = load(request).merged()
    except ConfigError:
        values = {}
    return Redactor(os.environ, values)


def _prompt_hash(rollout: str | None) -> str | None:
    if rollout is None:
        return None
    instructions = read_meta(Path(rollout)).base_instructions
    text = instructions.get("text") if isinstance(instructions, dict) else instructions
    if not isinstance(text, str) or not text:
        return None
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()
