"""Feedback: what a user has to say, with the evidence."""

from __future__ import annotations

from protocol.base import UNSET, Absent, Params, Wire

__all__ = ["FeedbackSaveParams", "FeedbackSaveResponse", "FeedbackUploadParams", "FeedbackUploadResponse"]


class FeedbackUploadParams(Params, kw_only=True):
    """`classification`: bug, bad_result, good_result or whatever a client offers. `extra_log_files`: paths here.

    `include_logs` adds the thread's rollout, the server's last log lines and the extra files.
    """

    classification: str
    extra_log_files: list[str] | None = None
    include_logs: bool = False
    reason: str | None = None
    tags: dict[str, str] | None = None
    thread_id: str | None = None


class FeedbackUploadResponse(Wire, kw_only=True):
    """`prompt_hash`: SHA-256 of the thread's base instructions, blanks as one space; None without any.

    `saved_path` is where the report lies on this machine; Codex has no such member.
    """

    prompt_hash: str | None = None
    thread_id: str
    saved_path: str | Absent = UNSET


class FeedbackSaveParams(FeedbackUploadParams, kw_only=True):
    """`save_path`: absolute, of a ZIP file that is not there yet."""

    save_path: str


class FeedbackSaveResponse(Wire, kw_only=True):
    saved_path: str
    thread_id: str
    prompt_hash: str | None = None
