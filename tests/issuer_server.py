"""The issuer of logins and the backend of accounts, on this machine: what they answer was recorded, their rules are real.

A code is good once and for the verifier of its challenge only, a refresh token is good once. `failures` are answers
given instead, the next request of that path first.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ACCOUNT, EMAIL, USER = "acct-123", "u@example.com", "user-1"
AUTH = "https://api.openai.com/auth"
WEEK_S = 604_800


def jwt(plan: str | None = "pro", *, expires_in: float = 3600, account: str = ACCOUNT, mark: str = "") -> str:
    """`mark` is text that a search for secrets finds in the token."""
    scope = {"chatgpt_account_id": account, "chatgpt_user_id": USER, "user_id": USER}
    if plan is not None:
        scope["chatgpt_plan_type"] = plan
    claims = {"email": EMAIL, "exp": int(time.time() + expires_in), AUTH: scope}
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"e30.{body}.{mark or 'c2ln'}"


class Issuer:
    """Use it inside `running_issuer`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.url = ""
        self.plan: str | None = "business"
        self.lifetime_s = 7200.0
        self.account = ACCOUNT
        self.mark = ""
        self.delay_s = 0.0
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.counts: Counter[str] = Counter()
        self.failures: dict[str, list[tuple[int, Any]]] = defaultdict(list)
        self.refresh_tokens: dict[str, str] = {}
        """Token -> `good`, `used` or `revoked`."""
        self.codes: dict[str, tuple[str, str]] = {}
        """Authorization code -> challenge and redirect URI."""
        self.consented = threading.Event()
        """For device codes."""
        self.accepted: set[str] | None = None
        """Access tokens that the backend takes; None: all."""
        self.asked = threading.Event()
        """Somebody wants tokens; they are given as long as `held` is set."""
        self.held = threading.Event()
        self.held.set()
        self._numbers = itertools.count(1)

    # --- what a test does ---------------------------------------------------------------------------------

    def reset(self) -> None:
        """As it was at first, but for the numbers in what it gives out, which name nothing twice."""
        url, numbers = self.url, self._numbers
        self.__init__()  # type: ignore[misc]
        self.url, self._numbers = url, numbers

    @property
    def env(self) -> dict[str, str]:
        return {
            "CODEX_APP_SERVER_LOGIN_ISSUER": self.url,
            "CODEX_APP_SERVER_CHATGPT_BASE_URL": f"{self.url}/backend-api",
            "CODEX_REFRESH_TOKEN_URL_OVERRIDE": f"{self.url}/oauth/token",
            "CODEX_REVOKE_TOKEN_URL_OVERRIDE": f"{self.url}/oauth/revoke",
        }

    def new_refresh_token(self) -> str:
        token = f"rt-{next(self._numbers)}-{self.mark or 'x'}"
        self.refresh_tokens[token] = "good"
        return token

    def stored(self, *, expires_in: float = 3600, plan: str | None = "pro") -> dict[str, Any]:
        """An auth.json with a login of this issuer."""
        return {
            "auth_mode": "chatgpt",
            "OPENAI_API_KEY": None,
            "tokens": {
                "id_token": jwt(plan, mark=self.mark),
                "access_token": jwt(plan, expires_in=expires_in, mark=self.mark),
                "refresh_token": self.new_refresh_token(),
                "account_id": ACCOUNT,
            },
            "last_refresh": "2026-11-22T17:01:28.144561542Z",
        }

    def consent(self, auth_url: str) -> str:
        """What a person does on the page; the address that the browser is sent to."""
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(auth_url).query))
        assert auth_url.startswith(f"{self.url}/oauth/authorize?")
        assert query["code_challenge_method"] == "S256"
        assert query["response_type"] == "code"
        assert "offline_access" in query["scope"].split()
        code = f"code-{next(self._numbers)}"
        self.codes[code] = (query["code_challenge"], query["redirect_uri"])
        return f"{query['redirect_uri']}?{urllib.parse.urlencode({'code': code, 'state': query['state']})}"

    def of(self, path: str) -> list[tuple[str, str, dict[str, str], Any]]:
        return [request for request in self.requests if request[1].split("?")[0].endswith(path)]

    # --- answers --------------------------------------------------------------------------------------------

    def tokens(self) -> dict[str, Any]:
        return {
            "id_token": jwt(self.plan, account=self.account, mark=self.mark),
            "access_token": jwt(self.plan, expires_in=self.lifetime_s, account=self.account, mark=f"n{next(self._numbers)}{self.mark}"),
            "refresh_token": self.new_refresh_token(),
        }  # fmt: skip

    def token(self, body: dict[str, Any]) -> tuple[int, Any]:
        match body.get("grant_type"):
            case "authorization_code":
                self.asked.set()
                self.held.wait(20)
                challenge, redirect = self.codes.pop(body["code"], ("", ""))
                digest = hashlib.sha256(body["code_verifier"].encode()).digest()
                made = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
                if (made, body["redirect_uri"]) != (challenge, redirect):
                    return 400, {"error": "invalid_grant"}
                return 200, self.tokens()
            case "refresh_token":
                with self.lock:
                    state = self.refresh_tokens.get(body["refresh_token"], "unknown")
                    if state == "good":
                        self.refresh_tokens[body["refresh_token"]] = "used"
                self.asked.set()
                self.held.wait(20)
                if state == "good":
                    time.sleep(self.delay_s)
                    return 200, self.tokens()
                codes = {"used": "refresh_token_reused", "revoked": "refresh_token_invalidated"}
                return 401, {"error": {"code": codes.get(state, "refresh_token_expired"), "message": "no"}}
            case _:
                return 200, {"access_token": f"sk-exchanged-{self.mark}"}

    def answer(self, path: str, headers: dict[str, str], body: Any) -> tuple[int, Any]:
        if self.failures[path]:
            return self.failures[path].pop(0)
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        if path.startswith("/backend-api/") and self.accepted is not None and bearer not in self.accepted:
            return 401, {"detail": "no"}
        match path:
            case "/oauth/token":
                return self.token(body)
            case "/oauth/revoke":
                self.refresh_tokens[body["token"]] = "revoked"
                return 200, {}
            case "/api/accounts/deviceauth/usercode":
                return 200, {"device_auth_id": "da-1", "user_code": "ABCD-1234", "interval": "0"}
            case "/api/accounts/deviceauth/token":
                if not self.consented.is_set():
                    return 403, {"error": "authorization_pending"}
                verifier = "v" * 43
                challenge = (
                    base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
                )
                self.codes["device-code"] = (challenge, f"{self.url}/deviceauth/callback")
                return 200, {"authorization_code": "device-code", "code_challenge": challenge, "code_verifier": verifier}  # fmt: skip
            case "/backend-api/wham/accounts/check":
                route = {
                    "workspace_backend_origin": "https://chatgpt.com",
                    "account_routing_override": "NO_CONSTRAINT",
                }
                return 200, {"accounts": [{"id": self.account, **route}]}
            case "/backend-api/wham/config/bundle":
                return 200, {}  # Codex asks for it
            case "/backend-api/wham/usage":
                return 200, USAGE
            case "/backend-api/wham/profiles/me":
                days = [{"start_date": "2026-01-01", "tokens": 9}]
                return 200, {
                    "stats": {"lifetime_tokens": 123, "longest_streak_days": 0, "daily_usage_buckets": days}
                }
            case _:
                return 404, {"detail": "no"}


def _limit(percent: float, seconds: int, resets: int) -> dict[str, Any]:
    return {
        "used_percent": percent,
        "limit_window_seconds": seconds,
        "reset_after_seconds": 1,
        "reset_at": resets,
    }


USAGE = {
    "plan_type": "pro",
    "user_id": USER,
    "account_id": ACCOUNT,
    "email": EMAIL,
    "ordinary_usage_allowed": True,
    "rate_limit": {
        "allowed": True,
        "limit_reached": False,
        "primary_window": _limit(42.5, 18001, 1_900_000_000),
        "secondary_window": _limit(5, WEEK_S, 1_900_500_000),
    },
    "credits": {"has_credits": True, "unlimited": False, "balance": "12.5", "approx_local_messages": [1, 2]},
    "additional_rate_limits": [
        {
            "limit_name": "codex_other",
            "metered_feature": "codex_other",
            "rate_limit": {"primary_window": _limit(88, 1800, 1_735_693_200), "secondary_window": None},
        }
    ],
}


@contextlib.contextmanager
def running_issuer() -> Iterator[Issuer]:
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._serve(None)

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
            form = self.headers.get("content-type", "").startswith("application/x-www-form")
            self._serve(dict(urllib.parse.parse_qsl(raw)) if form else json.loads(raw))

        def _serve(self, body: Any) -> None:
            path = self.path.split("?")[0]
            headers = {name.lower(): value for name, value in self.headers.items()}
            issuer.requests.append((self.command, self.path, headers, body))
            issuer.counts[path] += 1
            status, answer = issuer.answer(path, headers, body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            with contextlib.suppress(ConnectionError):
                self.end_headers()
                self.wfile.write(data)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    with Server(("127.0.0.1", 0), Handler) as server:
        issuer.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()


class Supplier:
    """A client's handler that answers requests for tokens; `tokens` is what it supplies, `asked` what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.tokens = ""

    def __call__(self, method: str, params: Any) -> dict[str, Any]:
        self.asked.append((method, params))
        return {"accessToken": self.tokens, "chatgptAccountId": ACCOUNT, "chatgptPlanType": "pro"}


def store(home: Path, document: Any) -> None:
    """Put a login there, as another program might."""
    (home / "auth.json").write_text(json.dumps(document))


def issuer_home(issuer: Issuer, home: Path, marked: Any) -> None:
    """Make a home's provider want a login of the issuer's."""
    marked.env.update(issuer.env)
    config = home / "config.toml"
    text = config.read_text().replace("requires_openai_auth = false", "requires_openai_auth = true")
    config.write_text(f"{text}\n[bulkhead]\nlogin_port = 0\n")


def visit(url: str) -> tuple[int, str]:
    """As a browser would, redirections included: status and text."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=20) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
