"""How a request to a model fails.

ModelError
├── ProviderUnusableError     settings that can not work: URL, header, proxy, CA file
├── HttpStatusError         * a status without a rule of its own (401, 403, 404, 502, ...)
│   └── TooManyRequestsError* 429 that names no account limit
├── ServerFailedError       * 500
├── ServerOverloadedError     the model is at capacity
├── RateLimitedError        * the provider's own rate limit
├── UsageLimitError           the account's limit, plan or quota is used up
├── BadRequestError           400
├── ModelNotFoundError        no such model
├── PolicyError               the provider will not answer this prompt
├── ContextWindowError        the input is longer than the model's window
├── IncompleteResponseError   the response ended early, at the token limit for one
└── StreamCutError          * the stream ended or failed before the response was complete
    ├── IdleTimeoutError    * nothing came for too long
    └── ConnectionLostError * no answer at all
        └── ConnectionFailedError * no connection

Those with a star (`retry`) are asked for again, up to the provider's `stream_max_retries`. Before that, one HTTP
request is tried again (`retry_request`) where it was answered with 500 and above or not at all.
"""

from __future__ import annotations

from typing import Any, ClassVar

from protocol.turns import CodexErrorInfo
from workers.models.events import TokenUsage

__all__ = [
    "BadRequestError",
    "ConnectionFailedError",
    "ConnectionLostError",
    "ContextWindowError",
    "HttpStatusError",
    "IdleTimeoutError",
    "IncompleteResponseError",
    "ModelError",
    "ModelNotFoundError",
    "PolicyError",
    "ProviderUnusableError",
    "RateLimitedError",
    "ServerFailedError",
    "ServerOverloadedError",
    "StreamCutError",
    "TooManyRequestsError",
    "UsageLimitError",
]

SERVER_ERRORS = 500


class ModelError(Exception):
    """A request that failed, in the words the client is shown.

    `message`, `info` and `details` are the fields of `TurnError`; `http_status` is the answer's, if there was one;
    `delay` is how long the server asks to wait before the next try, in seconds.
    """

    retry: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        info: CodexErrorInfo = "other",
        *,
        details: str | None = None,
        http_status: int | None = None,
        delay: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.info = info
        self.details = details
        self.http_status = http_status
        self.delay = delay
        self.usage: TokenUsage | None = None
        """What the response had cost by then, if the server counted."""

    @property
    def retry_request(self) -> bool:
        return self.http_status is not None and self.http_status >= SERVER_ERRORS

    @property
    def reconnect_info(self) -> CodexErrorInfo:
        """The info of the notification that says it is tried again."""
        return {"responseStreamDisconnected": {"httpStatusCode": None}}


class ProviderUnusableError(ModelError):
    pass


class HttpStatusError(ModelError):
    retry = True

    def __init__(self, message: str, *, http_status: int, delay: float | None = None) -> None:
        info = {"httpConnectionFailed": {"httpStatusCode": http_status}}
        super().__init__(message, info, http_status=http_status, delay=delay)

    @property
    def reconnect_info(self) -> CodexErrorInfo:
        return {"responseStreamDisconnected": {"httpStatusCode": self.http_status}}


class TooManyRequestsError(HttpStatusError):
    def __init__(self, *, http_status: int, delay: float | None = None) -> None:
        message = f"exceeded retry limit, last status: {http_status} Too Many Requests"
        super().__init__(message, http_status=http_status, delay=delay)
        self.info = {"responseTooManyFailedAttempts": {"httpStatusCode": http_status}}


class ServerFailedError(ModelError):
    retry = True

    def __init__(self, *, http_status: int, delay: float | None = None) -> None:
        super().__init__(
            "We’re currently experiencing high demand, which may cause temporary errors.",  # noqa: RUF001  the peer's text
            "internalServerError",
            http_status=http_status,
            delay=delay,
        )


class ServerOverloadedError(ModelError):
    def __init__(self, *, http_status: int | None = None, delay: float | None = None) -> None:
        super().__init__(
            "Selected model is at capacity. Please try a different model.",
            "serverOverloaded",
            http_status=http_status,
            delay=delay,
        )


class RateLimitedError(ModelError):
    retry = True

    def __init__(self, reason: str, *, http_status: int | None = None, delay: float | None = None) -> None:
        super().__init__(
            f"rate limit exceeded: {reason}", "rateLimitExceeded", http_status=http_status, delay=delay
        )


class UsageLimitError(ModelError):
    """`rate_limits` is the snapshot that came with the refusal, None where it is not to be told."""

    def __init__(
        self, message: str, *, http_status: int | None = None, rate_limits: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message, "usageLimitExceeded", http_status=http_status)
        self.rate_limits = rate_limits


class BadRequestError(ModelError):
    pass


class ModelNotFoundError(ModelError):
    def __init__(self, message: str, *, http_status: int | None = None) -> None:
        super().__init__(message, "modelNotFound", http_status=http_status)


class PolicyError(ModelError):
    pass


class ContextWindowError(ModelError):
    def __init__(self, *, http_status: int | None = None) -> None:
        super().__init__(
            "Codex ran out of room in the model's context window. "
            "Start a new thread or clear earlier history before retrying.",
            "contextWindowExceeded",
            http_status=http_status,
        )


class IncompleteResponseError(ModelError):
    """`reason` as the provider gives it, `max_output_tokens` for one."""

    def __init__(self, reason: str) -> None:
        super().__init__(incomplete_text(reason))
        self.reason = reason


class StreamCutError(ModelError):
    retry = True

    def __init__(self, reason: str = "stream closed before response.completed") -> None:
        super().__init__(f"stream disconnected before completion: {reason}")


class IdleTimeoutError(StreamCutError):
    def __init__(self) -> None:
        super().__init__("idle timeout waiting for SSE")


class ConnectionLostError(StreamCutError):
    retry_request = True

    def __init__(self) -> None:
        super().__init__("error sending request")


class ConnectionFailedError(ConnectionLostError):
    """`cause` says why: refused, unknown host, bad certificate, time-out."""

    def __init__(self, cause: str) -> None:
        super().__init__()
        self.message = f"Connection failed: error sending request: {cause}"
        self.info = {"httpConnectionFailed": {"httpStatusCode": None}}
        self.args = (self.message,)


def incomplete_text(reason: str) -> str:
    return f"Incomplete response returned, reason: {reason}"
