"""From what a provider answers to the error it means: HTTP statuses, and failures told inside a stream."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import httpx
import msgspec

from workers.models.errors import (
    BadRequestError,
    ContextWindowError,
    HttpStatusError,
    IncompleteResponseError,
    ModelError,
    ModelNotFoundError,
    PolicyError,
    RateLimitedError,
    ServerFailedError,
    ServerOverloadedError,
    StreamCutError,
    TooManyRequestsError,
    UsageLimitError,
    incomplete_text,
)
from workers.models.limits import NOT_INCLUDED_TEXT, QUOTA_TEXT, rate_limits, usage_limit_text
from workers.models.retry import retry_after, spelled_delay

__all__ = ["failed_response", "incomplete_response", "refusal"]

SHOWN_BODY_BYTES = 1000
"""How much of a body that holds no message is shown."""

_INVALID_IMAGE = "The image data you provided does not represent a valid image"
# Names that differ from one Python to the next, as the standards have given them up, or that the peer spells otherwise.
_PHRASES = {
    413: "Payload Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Entity",
}


def refusal(status: int, headers: Mapping[str, str], body: bytes, url: httpx.URL) -> ModelError:
    """Name the error of an answer whose status is not 200. `headers` have to be case-insensitive."""
    text = body.decode("utf-8", "replace")
    error = _error_object(body)
    code, kind, told = error.get("code"), error.get("type"), error.get("message")
    message = told if isinstance(told, str) else ""
    delay = retry_after(headers)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return ServerFailedError(http_status=status, delay=delay)
    if status == HTTPStatus.SERVICE_UNAVAILABLE and code == "server_is_overloaded":
        return ServerOverloadedError(http_status=status, delay=delay)
    if status == HTTPStatus.SERVICE_UNAVAILABLE and code == "slow_down":
        return RateLimitedError(message, http_status=status, delay=delay)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return _too_many(kind, code, error, headers, delay)
    if code == "model_not_found" and status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return ModelNotFoundError(message or text, http_status=status)
    if status == HTTPStatus.BAD_REQUEST:
        return _bad_request(code, message, text)
    return HttpStatusError(_status_text(status, headers, message, text, url), http_status=status, delay=delay)


def failed_response(error: Any) -> ModelError:
    """Name the error of a `response.failed` event or an `error` object in a stream, by its `code` and `message`."""
    if not isinstance(error, dict):
        return StreamCutError("response.failed event received")
    code, told = error.get("code"), error.get("message")
    message = told if isinstance(told, str) else ""
    match code:
        case "context_length_exceeded":
            return ContextWindowError()
        case "insufficient_quota":
            return UsageLimitError(QUOTA_TEXT)
        case "usage_not_included":
            return UsageLimitError(NOT_INCLUDED_TEXT)
        case "server_is_overloaded":
            return ServerOverloadedError()
        case "rate_limit_exceeded" | "slow_down":
            return RateLimitedError(message, delay=spelled_delay(message))
        case "invalid_prompt":
            return BadRequestError(message or "Invalid request.")
        case "cyber_policy":
            return PolicyError(message, "cyberPolicy")
        case "bio_policy":
            return PolicyError(message)
        case "model_not_found":
            return ModelNotFoundError(message)
        case _:
            return StreamCutError(message)


def incomplete_response(reason: str | None) -> ModelError:
    """Name the error of `response.incomplete`.

    What a content filter stopped may pass the next time; the peer retries it.
    """
    if reason == "content_filter":
        return StreamCutError(incomplete_text(reason))
    return IncompleteResponseError(reason or "unknown")


def _too_many(
    kind: Any, code: Any, error: dict[str, Any], headers: Mapping[str, str], delay: float | None
) -> ModelError:
    status = int(HTTPStatus.TOO_MANY_REQUESTS)
    match kind:
        case "usage_limit_reached":
            plan, resets_at = error.get("plan_type"), error.get("resets_at")
            text = usage_limit_text(
                headers,
                plan if isinstance(plan, str) else None,
                int(resets_at) if isinstance(resets_at, int | float) else None,
            )
            return UsageLimitError(text, http_status=status, rate_limits=rate_limits(headers))
        case "usage_not_included":
            return UsageLimitError(NOT_INCLUDED_TEXT, http_status=status)
        case _ if "insufficient_quota" in (kind, code):
            return UsageLimitError(QUOTA_TEXT, http_status=status)
        case _:
            return TooManyRequestsError(http_status=status, delay=delay)


def _bad_request(code: Any, message: str, text: str) -> ModelError:
    status = int(HTTPStatus.BAD_REQUEST)
    if code == "context_length_exceeded":
        return ContextWindowError(http_status=status)
    if code == "cyber_policy":
        return PolicyError(message or text, "cyberPolicy", http_status=status)
    if _INVALID_IMAGE in text:
        return BadRequestError(
            "Invalid image in your last message. Please remove it and try again.",
            "badRequest",
            http_status=status,
        )
    return BadRequestError(text, http_status=status)


def _status_text(status: int, headers: Mapping[str, str], message: str, text: str, url: httpx.URL) -> str:
    try:
        phrase = _PHRASES.get(status) or HTTPStatus(status).phrase
    except ValueError:
        phrase = "<unknown status code>"
    ray = headers.get("cf-ray")
    if status == HTTPStatus.FORBIDDEN and "Cloudflare" in text and "blocked" in text:
        said = (
            "Access blocked by Cloudflare. "
            f"This usually happens when connecting from a restricted region (status {status} {phrase})"
        )
    else:
        said = f"unexpected status {status} {phrase}: {message.strip() or _shortened(text.strip())}"
    # User, password and query may hold keys, and this text is shown and stored.
    shown = str(url.copy_with(query=None, userinfo=b"", fragment=None))
    parts = [said, f"url: {shown}"]
    parts += [f"cf-ray: {ray}"] if ray else []
    request_id = headers.get("x-request-id") or headers.get("x-oai-request-id")
    parts += [f"request id: {request_id}"] if request_id else []
    auth_error = headers.get("x-openai-authorization-error")
    parts += [f"auth error: {auth_error}"] if auth_error else []
    return ", ".join(parts)


def _shortened(text: str) -> str:
    raw = text.encode()
    if len(raw) <= SHOWN_BODY_BYTES:
        return text or "Unknown error"
    return raw[:SHOWN_BODY_BYTES].decode("utf-8", "ignore") + "..."


def _error_object(body: bytes) -> dict[str, Any]:
    try:
        error = msgspec.json.decode(body).get("error")
    except (msgspec.DecodeError, AttributeError, RecursionError):
        return {}
    # Some servers send the text alone.
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else {}
