"""Every row of the table of model errors: what the client is told, how often it is tried, and what the recordings say."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import httpx
import pytest
from scripted_http import (
    COMPLETED,
    CREATED,
    Answer,
    ScriptedServer,
    ask,
    chunked,
    collect,
    head,
    kinds,
    message,
    refuse,
    run,
    sse,
    stream,
)

from workers.models import stream as stream_module
from workers.models.events import RateLimits, Retrying
from workers.models.limits import usage_limit_text
from workers.models.refusal import refusal

TRACES = Path(__file__).resolve().parents[2] / "shared" / "protocol" / "traces-0.169"
HIGH_DEMAND = "We\u2019re currently experiencing high demand, which may cause temporary errors."
CUT = "stream disconnected before completion: "


@pytest.fixture(autouse=True)
def slept(monkeypatch):
    """The waits between tries, none of which takes any time."""
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    monkeypatch.setattr(stream_module, "sleep", sleep)
    return waits


def failed(code, text="mock msg"):
    error = {"code": code} | ({"message": text} if text is not None else {})
    return stream(
        CREATED, {"type": "response.failed", "response": {"id": "r", "status": "failed", "error": error}}
    )


def incomplete(reason):
    details = {"incomplete_details": {"reason": reason}} if reason else {}
    return stream(
        CREATED, *message("partial"), {"type": "response.incomplete", "response": {"id": "r", **details}}
    )


def usage(plan="plus", **more):
    return {
        "error": {
            "type": "usage_limit_reached",
            "message": "m",
            "plan_type": plan,
            "resets_at": int(time.time()) + 3600,
            **more,
        }
    }


def status(code):
    return {"httpConnectionFailed": {"httpStatusCode": code}}


def error(**fields):
    return {"error": fields}


CONTEXT = "Codex ran out of room in the model's context window. Start a new thread or clear earlier history before retrying."
QUOTA = "Quota exceeded. Check your plan and billing details."
PLUS = "To use Codex with your ChatGPT plan, upgrade to Plus: https://chatgpt.com/explore/plus."
CLOUDFLARE = "Access blocked by Cloudflare. This usually happens when connecting from a restricted region"
CAPACITY = "Selected model is at capacity. Please try a different model."

# answer, HTTP tries, final message, info, the status in the notification of the retry (False: no retry is told of)
TABLE = {
    "500": (refuse(500, error(message="x")), 4, HIGH_DEMAND, "internalServerError", None),
    "500 overloaded": (
        refuse(500, error(code="server_is_overloaded")),
        4,
        HIGH_DEMAND,
        "internalServerError",
        None,
    ),
    "429": (
        refuse(429, error(code="rate_limit_exceeded", message="x"), retry_after=1),
        2,
        "exceeded retry limit, last status: 429 Too Many Requests",
        {"responseTooManyFailedAttempts": {"httpStatusCode": 429}},
        429,
    ),
    "429 not included": (refuse(429, error(type="usage_not_included")), 1, PLUS, "usageLimitExceeded", False),
    "429 quota": (refuse(429, error(code="insufficient_quota")), 1, QUOTA, "usageLimitExceeded", False),
    "400": (
        refuse(400, b'{"error": {"message": "bad"}}'),
        1,
        '{"error": {"message": "bad"}}',
        "other",
        False,
    ),
    "400 empty": (refuse(400, b""), 1, "", "other", False),
    "400 context": (
        refuse(400, error(code="context_length_exceeded")),
        1,
        CONTEXT,
        "contextWindowExceeded",
        False,
    ),
    "400 cyber": (refuse(400, error(code="cyber_policy", message="no")), 1, "no", "cyberPolicy", False),
    "400 image": (
        refuse(400, error(message="The image data you provided does not represent a valid image")),
        1,
        "Invalid image in your last message. Please remove it and try again.",
        "badRequest",
        False,
    ),
    "404 model": (
        refuse(404, error(code="model_not_found", message="no model")),
        1,
        "no model",
        "modelNotFound",
        False,
    ),
    "401": (
        refuse(401, error(message="who?")),
        2,
        "unexpected status 401 Unauthorized: who?, url: URL",
        status(401),
        401,
    ),
    "403": (
        refuse(403, error(message="no")),
        2,
        "unexpected status 403 Forbidden: no, url: URL",
        status(403),
        403,
    ),
    "404": (
        refuse(404, b"<html>", x_request_id="req_1", cf_ray="ray9"),
        2,
        "unexpected status 404 Not Found: <html>, url: URL, cf-ray: ray9, request id: req_1",
        status(404),
        404,
    ),
    "413": (
        refuse(413, b"big"),
        2,
        "unexpected status 413 Payload Too Large: big, url: URL",
        status(413),
        413,
    ),
    "422": (
        refuse(422, {"detail": 1}),
        2,
        'unexpected status 422 Unprocessable Entity: {"detail": 1}, url: URL',
        status(422),
        422,
    ),
    "302": (
        refuse(302, b"", location="/v1/x"),
        2,
        "unexpected status 302 Found: Unknown error, url: URL",
        status(302),
        302,
    ),
    "529": (
        refuse(529, b"odd"),
        4,
        "unexpected status 529 <unknown status code>: odd, url: URL",
        status(529),
        529,
    ),
    "502": (refuse(502, b"gw"), 4, "unexpected status 502 Bad Gateway: gw, url: URL", status(502), 502),
    "403 cloudflare": (
        refuse(403, b"<html>Cloudflare blocked</html>", cf_ray="r"),
        2,
        f"{CLOUDFLARE} (status 403 Forbidden), url: URL, cf-ray: r",
        status(403),
        403,
    ),
    "503": (
        refuse(503, error(message="plain")),
        4,
        "unexpected status 503 Service Unavailable: plain, url: URL",
        status(503),
        503,
    ),
    "503 overloaded": (
        refuse(503, error(code="server_is_overloaded")),
        2,
        CAPACITY,
        "serverOverloaded",
        False,
    ),
    "503 slow down": (
        refuse(503, error(code="slow_down", message="slow")),
        4,
        "rate limit exceeded: slow",
        "rateLimitExceeded",
        None,
    ),
    "cut": (stream(CREATED), 2, CUT + "stream closed before response.completed", "other", None),
    "no stream": (
        refuse(200, error(message="x")),
        2,
        CUT + "stream closed before response.completed",
        "other",
        None,
    ),
    "broken json": (stream(b"{nope"), 2, CUT + "stream closed before response.completed", "other", None),
    "cut in a chunk": (
        Answer(head() + b"transfer-encoding: chunked\r\n\r\n20\r\nabc", "close"),
        2,
        CUT + "Transport error: network error: error decoding response body",
        "other",
        None,
    ),
    "no answer": (Answer(b"", "close"), 4, CUT + "error sending request", "other", None),
    "reset": (Answer(b"", "reset"), 4, CUT + "error sending request", "other", None),
    "failed": (failed("server_error"), 2, CUT + "mock msg", "other", None),
    "failed, silent": (failed("server_error", None), 2, CUT, "other", None),
    "failed, nothing": (
        stream(CREATED, {"type": "response.failed", "response": {"id": "r"}}),
        2,
        CUT + "response.failed event received",
        "other",
        None,
    ),
    "failed context": (failed("context_length_exceeded"), 1, CONTEXT, "contextWindowExceeded", False),
    "failed quota": (failed("insufficient_quota"), 1, QUOTA, "usageLimitExceeded", False),
    "failed not included": (failed("usage_not_included"), 1, PLUS, "usageLimitExceeded", False),
    "failed overloaded": (failed("server_is_overloaded"), 1, CAPACITY, "serverOverloaded", False),
    "failed rate": (
        failed("rate_limit_exceeded"),
        2,
        "rate limit exceeded: mock msg",
        "rateLimitExceeded",
        None,
    ),
    "failed slow down": (failed("slow_down"), 2, "rate limit exceeded: mock msg", "rateLimitExceeded", None),
    "failed prompt": (failed("invalid_prompt"), 1, "mock msg", "other", False),
    "failed prompt, silent": (failed("invalid_prompt", None), 1, "Invalid request.", "other", False),
    "failed cyber": (failed("cyber_policy"), 1, "mock msg", "cyberPolicy", False),
    "failed bio": (failed("bio_policy"), 1, "mock msg", "other", False),
    "failed model": (failed("model_not_found"), 1, "mock msg", "modelNotFound", False),
    "incomplete": (
        incomplete("max_output_tokens"),
        1,
        "Incomplete response returned, reason: max_output_tokens",
        "other",
        False,
    ),
    "incomplete, nothing": (
        incomplete(None),
        1,
        "Incomplete response returned, reason: unknown",
        "other",
        False,
    ),
    "incomplete, filter": (
        incomplete("content_filter"),
        2,
        CUT + "Incomplete response returned, reason: content_filter",
        "other",
        None,
    ),
}


@pytest.mark.parametrize("row", TABLE)
def test_table(row):
    answer, tries, text, info, told = TABLE[row]

    async def main():
        async with ScriptedServer(answer) as server:
            return *await collect(server), server.requests, f"{server.base_url}/responses"

    events, raised, requests, url = run(main())
    text = text.replace("URL", url)
    assert (raised.message, raised.info, raised.details) == (text, info, None)
    assert str(raised) == text
    assert len(requests) == tries
    retries = [event for event in events if isinstance(event, Retrying)]
    if told is False:
        assert retries == []
    else:
        reconnect = {"responseStreamDisconnected": {"httpStatusCode": told}}
        assert retries == [Retrying("Reconnecting... 1/1", reconnect, text)]
    # Every response of status 200 tells its limits, and nothing comes after the last of them.
    answered = tries if answer.data.startswith(b"HTTP/1.1 200") else 0
    assert kinds(events).count("RateLimits") == answered
    if answered:
        assert isinstance(events[-1], RateLimits)


MOCKED = {
    "ctx": failed("context_length_exceeded", "Your input exceeds the context window of this model."),
    "cut": stream(CREATED, *list(message())[:3]),
    "cyber": failed("invalid_prompt", "Invalid prompt: flagged"),
    "e400": refuse(
        400, {"error": {"message": "mock bad request", "type": "invalid_request_error", "code": "bad_thing"}}
    ),
    "e401": refuse(
        401, error(message="mock unauthorized", type="invalid_request_error", code="invalid_api_key")
    ),
    "e403": refuse(403, error(message="mock forbidden")),
    "e404": refuse(404, error(message="mock not found")),
    "e429": refuse(429, error(message="Rate limit reached", type="rate_limit_exceeded"), retry_after=1),
    "e429usage": refuse(429, usage()),
    "e500": refuse(500, error(message="mock internal error", type="server_error")),
    "e503": refuse(503, error(code="server_is_overloaded", message="mock overloaded")),
    "failed": failed("server_error", "mock failed"),
    "ratefail": failed(
        "rate_limit_exceeded", "Rate limit reached for gpt in organization. Please try again in 0.2s."
    ),
}


@pytest.mark.skipif(not TRACES.is_dir(), reason="the recordings are not here")
def test_all_recordings_are_compared():
    assert {path.stem.removeprefix("16-errors-") for path in TRACES.glob("16-errors-*.jsonl")} == set(MOCKED)


@pytest.mark.skipif(not TRACES.is_dir(), reason="the recordings are not here")
@pytest.mark.parametrize("name", MOCKED)
def test_same_as_recorded(name):
    async def main():
        async with ScriptedServer(MOCKED[name]) as server:
            return *await collect(server), server.base_url

    events, raised, base_url = run(main())
    ours = [(e.message, e.info, e.details, True) for e in events if isinstance(e, Retrying)]
    ours.append((raised.message, raised.info, raised.details, False))
    assert same_clock(json.dumps(ours).replace(base_url, "http://127.0.0.1:18911/v1")) == same_clock(
        json.dumps(recorded(name))
    )


def recorded(name):
    errors = []
    for line in (TRACES / f"16-errors-{name}.jsonl").read_text().splitlines():
        told = json.loads(line).get("msg") or {}
        if told.get("method") == "error":
            one = told["params"]["error"]
            errors.append(
                [one["message"], one["codexErrorInfo"], one["additionalDetails"], told["params"]["willRetry"]]
            )
    return errors


def same_clock(text):
    # Near midnight the time is one of the next day, which is named then.
    return re.sub(r"(\w+ \d+\w\w, \d{4} )?\d+:\d\d [AP]M", "TIME", text)


# --- usage limits --------------------------------------------------------------------------------

HIT = "You\u2019ve hit your usage limit"
LIMIT_TEXTS = [
    (
        "plus",
        {},
        f"{HIT}. Upgrade to Pro (https://chatgpt.com/explore/pro), visit https://chatgpt.com/settings/usage to purchase more credits or try again later.",
    ),
    (
        "pro",
        {},
        f"{HIT}. Visit https://chatgpt.com/settings/usage to purchase more credits or try again later.",
    ),
    (
        "free",
        {},
        f"{HIT}. Upgrade to Plus to continue using Codex (https://chatgpt.com/explore/plus), or try again later.",
    ),
    (
        "go",
        {},
        f"{HIT}. Upgrade to Plus to continue using Codex (https://chatgpt.com/explore/plus), or try again later.",
    ),
    ("team", {}, f"{HIT}. To get more access now, send a request to your admin or try again later."),
    ("enterprise", {}, f"{HIT}. Try again later."),
    (None, {}, f"{HIT}. Try again later."),
    ("plus", {"x-codex-promo-message": "Try promo"}, f"{HIT}. Try promo, or try again later."),
    (
        "plus",
        {"x-codex-active-limit": "codex_other", "x-codex-other-limit-name": "Other"},
        f"{HIT} for Other. Switch to another model now, or try again later.",
    ),
    (
        "plus",
        {"x-codex-rate-limit-reached-type": "workspace_owner_credits_depleted"},
        "Your workspace is out of credits. Add credits to continue.",
    ),
]


@pytest.mark.parametrize(("plan", "headers", "text"), LIMIT_TEXTS)
def test_usage_limit_text(plan, headers, text):
    assert usage_limit_text(headers, plan, None) == text


@pytest.mark.parametrize(
    ("resets_in", "said"),
    [
        (3600, "1:05 PM"),
        (-40000, "12:58 AM"),
        (86400, "Nov 23rd, 2026 12:05 PM"),
        (-86400 * 11, "Nov 11th, 2026 12:05 PM"),
    ],
)
def test_usage_limit_clock(monkeypatch, resets_in, said):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    try:
        now = 1_795_349_100  # 2026-11-22 12:05 UTC
        assert usage_limit_text({}, None, now + resets_in, now=now) == f"{HIT}. Try again at {said}."
    finally:
        monkeypatch.undo()
        time.tzset()


def test_usage_limit_comes_with_its_rate_limits():
    events, raised, requests = ask(
        refuse(429, usage(), x_codex_primary_used_percent="100", x_codex_primary_window_minutes="300")
    )
    assert kinds(events) == ["RateLimits"]
    assert events[0].snapshot["primary"] == {"usedPercent": 100, "windowDurationMins": 300, "resetsAt": None}
    assert raised.info == "usageLimitExceeded"
    assert len(requests) == 1


# --- what is shown -------------------------------------------------------------------------------


def test_long_bodies_are_cut():
    text = refusal(404, httpx.Headers(), b"x" * 5000, httpx.URL("http://h/v1")).message
    assert text == f"unexpected status 404 Not Found: {'x' * 1000}..., url: http://h/v1"


def test_keys_in_the_url_are_not_shown():
    url = httpx.URL("https://user:secret@h/v1/responses?key=secret#secret")
    assert refusal(404, httpx.Headers(), b"", url).message.endswith(", url: https://h/v1/responses")


def test_the_partial_message_of_an_incomplete_response_is_done():
    events, _, _ = ask(incomplete("max_output_tokens"))
    assert kinds(events) == ["Created", "MessageStarted", "TextDelta", "ItemDone", "RateLimits"]


# --- tries ---------------------------------------------------------------------------------------


def test_default_numbers_of_tries(slept):
    events, _, requests = ask(refuse(500, b""), request_max_retries=4, stream_max_retries=5)
    assert len(requests) == 30
    assert [e.message for e in events] == [f"Reconnecting... {n}/5" for n in range(1, 6)]


def test_back_off_doubles(slept):
    ask(stream(CREATED), stream_max_retries=5)
    assert len(slept) == 5
    for attempt, seconds in enumerate(slept):
        assert 0.9 * 0.2 * 2**attempt <= seconds <= 1.1 * 0.2 * 2**attempt


def test_recovery_after_a_cut():
    events, raised, _ = ask(stream(CREATED, *message()), stream(CREATED, *message(), COMPLETED))
    assert raised is None
    assert kinds(events) == [
        *["Created", "MessageStarted", "TextDelta", "TextDelta", "ItemDone", "RateLimits", "Retrying"],
        *["Created", "MessageStarted", "TextDelta", "TextDelta", "ItemDone", "Completed", "RateLimits"],
    ]


def test_a_request_that_recovers_is_not_told_of():
    events, raised, requests = ask(
        refuse(503, b""), Answer(b"", "close"), chunked(CREATED, COMPLETED), request_max_retries=4
    )
    assert raised is None
    assert kinds(events) == ["Created", "Completed", "RateLimits"]
    assert len(requests) == 3


@pytest.mark.parametrize(
    ("answer", "wait"),
    [
        (refuse(429, b"", retry_after="7"), 7.0),
        (refuse(429, b"", retry_after_ms="700", retry_after="7"), 0.7),
        (refuse(429, b"", retry_after="Thu, 01 Jan 1970 00:00:00 GMT"), 0.0),
        (refuse(503, b"", retry_after="3"), 3.0),
        (failed("rate_limit_exceeded", "Please try again in 35ms."), 0.035),
        (failed("rate_limit_exceeded", "Please try again in 1.5s."), 1.5),
    ],
)
def test_servers_say_how_long_to_wait(slept, answer, wait):
    ask(answer, chunked(CREATED, COMPLETED))
    assert slept == [pytest.approx(wait)]


def test_too_long_a_wait_is_an_error_at_once(slept):
    events, raised, requests = ask(refuse(429, b"", retry_after="86400"))
    assert (kinds(events), len(requests), slept) == ([], 1, [])
    assert raised.http_status == 429


@pytest.mark.parametrize("value", ["soon", "-1", "nan", "inf", "Thu, 99 Foo 1970"])
def test_unreadable_waits_are_ignored(slept, value):
    ask(refuse(429, b"", retry_after=value), chunked(CREATED, COMPLETED))
    assert len(slept) == 1
    assert 0.18 <= slept[0] <= 0.22


def test_silence_is_an_idle_timeout():
    events, raised, requests = ask(Answer(head() + b"\r\n" + sse(CREATED), "hold"), stream_idle_timeout_ms=50)
    assert raised.message == CUT + "idle timeout waiting for SSE"
    assert raised.info == "other"
    assert kinds(events) == ["Created", "RateLimits", "Retrying", "Created", "RateLimits"]
    assert len(requests) == 2


def test_no_answer_is_an_idle_timeout_too():
    _, raised, requests = ask(Answer(b"", "hold"), stream_idle_timeout_ms=50)
    assert raised.message == CUT + "idle timeout waiting for SSE"
    assert len(requests) == 2


def test_refused_connection(slept):
    async def main():
        async with ScriptedServer(Answer(b"")) as server:
            url = server.base_url
        return await collect(url)

    events, raised = run(main())
    assert kinds(events) == ["Retrying"]
    assert len(slept) == 3
    assert raised.message.startswith("Connection failed: error sending request: ")
    assert raised.info == {"httpConnectionFailed": {"httpStatusCode": None}}
    assert events[0].info == {"responseStreamDisconnected": {"httpStatusCode": None}}


@pytest.mark.parametrize("url", ["", "ftp://h/v1", "http://", "http://[::", "h/v1"])
def test_a_base_url_that_is_none(url):
    events, raised = run(collect(url))
    assert events == []
    assert "base_url" in raised.message


@pytest.mark.parametrize("value", ["sk-secret\r\nx: y", "sk-secret-ü"])
def test_a_header_that_can_not_be_sent(value):
    async def authorize():
        return {"authorization": value}

    events, raised, requests = ask(chunked(CREATED, COMPLETED), authorize=authorize)
    assert (events, requests) == ([], [])
    assert "secret" not in raised.message
