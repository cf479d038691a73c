"""A small MCP server for tests, over stdio or streamable HTTP; standard library only, so that it starts at once.

As a program it speaks over stdio: `python mcp_tool_server.py [HOW]`, where HOW is how it starts: `well` (the default),
`hang` (no answer ever), `leave` (it ends at once), `rubbish` (what is no JSON, then well), `flood` (a line without an end),
`refuse` (an error for an answer). `http_tools()` serves the same tools by HTTP.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

Message = dict[str, Any]

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
NOTHING = {"type": "object", "properties": {}}
TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}


def tool(name: str, schema: Message = NOTHING, **more: Any) -> Message:
    return {"name": name, "description": f"test tool {name}", "inputSchema": schema, **more}


READ_ONLY = {"annotations": {"readOnlyHint": True}}
TOOLS = [
    tool("echo", TEXT),
    tool("look", TEXT, **READ_ONLY, title="Look it up"),
    tool("alter", annotations={"readOnlyHint": True, "destructiveHint": True}),
    tool("append", annotations={"destructiveHint": False, "openWorldHint": False}),
    tool("environment", {"type": "object", "properties": {"name": {"type": "string"}}}, **READ_ONLY),
    tool("picture", **READ_ONLY),
    tool("parts", **READ_ONLY, outputSchema={"type": "object"}),
    tool("fail", **READ_ONLY),
    tool("refuse", **READ_ONLY),
    tool("steps", **READ_ONLY),
    tool("hang", **READ_ONLY),
    tool("ask", **READ_ONLY),
    tool("visit", **READ_ONLY),
    tool("die", **READ_ONLY),
    tool("rubbish", **READ_ONLY),
    tool("flood", **READ_ONLY),
    tool("children", **READ_ONLY),
    tool("add.tool!", **READ_ONLY),
]
RESOURCES = [
    {"uri": "memo://one", "name": "one", "mimeType": "text/plain"},
    {"uri": "memo://two", "name": "two"},
]
TEMPLATES = [{"uriTemplate": "memo://{name}", "name": "memo"}]


class Refused(Exception):
    """An error for an answer."""


class Tools:
    """What the server does; `send` puts a message on the way, `ask` waits for the answer to a request."""

    def __init__(self, send: Callable[[Message], None], ask: Callable[[str, Message], Message]) -> None:
        self._send = send
        self._ask = ask

    def answer(self, message: Message) -> Message | None:
        """The response to a request; None to a notification, and if there is to be none."""
        if "id" not in message:
            return None
        try:
            result = self._result(message["method"], message.get("params") or {})
        except Refused as refusal:
            error = {"code": -32602, "message": str(refusal)}
            return {"jsonrpc": "2.0", "id": message["id"], "error": error}
        return {"jsonrpc": "2.0", "id": message["id"], "result": result}

    def _result(self, method: str, params: Message) -> Message:
        match method:
            case "initialize":
                return {
                    "protocolVersion": params["protocolVersion"],
                    "capabilities": {"tools": {}, "resources": {}},
                    "serverInfo": {"name": "test-tools", "version": "1", "title": "Test tools"},
                    "instructions": "Tools for tests.",
                }
            case "ping":
                return {}
            case "tools/list":
                # Two pages.
                if params.get("cursor") is None:
                    return {"tools": TOOLS[:3], "nextCursor": "more"}
                return {"tools": TOOLS[3:]}
            case "tools/call":
                return self._call(params)
            case "resources/list":
                if params.get("cursor") is None:
                    return {"resources": RESOURCES[:1], "nextCursor": "more"}
                return {"resources": RESOURCES[1:]}
            case "resources/templates/list":
                return {"resourceTemplates": TEMPLATES}
            case "resources/read":
                uri = params["uri"]
                if not uri.startswith("memo://"):
                    raise Refused(f"no resource {uri}")
                return {"contents": [{"uri": uri, "mimeType": "text/plain", "text": f"memo of {uri[7:]}"}]}
        raise Refused(f"unknown method {method}")

    def _call(self, params: Message) -> Message:
        arguments = params.get("arguments") or {}
        match params["name"]:
            case "echo" | "look" | "alter" | "append" | "add.tool!":
                return said("ECHO " + json.dumps(arguments))
            case "answer":
                # Not in the list: hooks may call what models do not see.
                return said(arguments["text"])
            case "thread":
                return said(params["_meta"]["threadId"])
            case "environment":
                return said(json.dumps({"value": os.environ.get(arguments["name"]), "cwd": os.getcwd()}))
            case "picture":
                image = {"type": "image", "data": PIXEL, "mimeType": "image/png"}
                return {"content": [{"type": "text", "text": "a pixel"}, image]}
            case "parts":
                return {**said("plain"), "structuredContent": {"answer": 42}, "_meta": {"seen": True}}
            case "fail":
                return {**said("it went wrong"), "isError": True}
            case "refuse":
                raise Refused("not like this")
            case "steps":
                token = params.get("_meta", {}).get("progressToken")
                for step in (1, 2):
                    progress = {
                        "progressToken": token,
                        "progress": step,
                        "total": 2,
                        "message": f"step {step}",
                    }
                    self._send(notification("notifications/progress", progress))
                return said("done")
            case "hang":
                time.sleep(3600)
            case "ask":
                schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
                question = {"message": "Who are you?", "requestedSchema": schema}
                return said(json.dumps(self._ask("elicitation/create", question), sort_keys=True))
            case "visit":
                question = {
                    "mode": "url",
                    "message": "Go there",
                    "url": "https://example.com/x",
                    "elicitationId": "e1",
                }
                return said(json.dumps(self._ask("elicitation/create", question), sort_keys=True))
            case "die":
                os._exit(3)
            case "rubbish":
                print("this is no JSON\n[1, 2\n{}\n42", flush=True)
                return said("between rubbish")
            case "flood":
                flood()
            case "children":
                child = subprocess.Popen(["sleep", "1000"])
                return said(json.dumps({"server": os.getpid(), "child": child.pid}))
        raise Refused(f"unknown tool {params['name']}")


def said(text: str) -> Message:
    return {"content": [{"type": "text", "text": text}]}


def notification(method: str, params: Message) -> Message:
    return {"jsonrpc": "2.0", "method": method, "params": params}


def flood() -> None:
    """A line without an end, until nobody reads any more."""
    with contextlib.suppress(BrokenPipeError):
        while True:
            os.write(1, b"x" * 65536)
    os._exit(1)


def main(how: str = "well") -> None:
    if how == "hang":
        time.sleep(3600)
    if how == "leave":
        print("cannot start today", file=sys.stderr)
        sys.exit(3)
    if how == "flood":
        flood()
    if how == "rubbish":
        print("Welcome to the test tools!\n{", flush=True)
    numbers = itertools.count(1)

    def send(message: Message) -> None:
        print(json.dumps(message), flush=True)

    def ask(method: str, params: Message) -> Message:
        number = f"ask-{next(numbers)}"
        send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        while True:
            message = json.loads(sys.stdin.readline())
            if message.get("id") == number and "method" not in message:
                return message.get("result") or {"error": message["error"]["message"]}

    tools = Tools(send, ask)
    for line in sys.stdin:
        message = json.loads(line)
        if how == "refuse" and "id" in message:
            error = {"code": -32000, "message": "not today"}
            send({"jsonrpc": "2.0", "id": message["id"], "error": error})
        elif "method" in message and (response := tools.answer(message)) is not None:
            send(response)


# --- streamable HTTP --------------------------------------------------------------------------------------------


class HttpTools(ThreadingHTTPServer):
    """The same tools by HTTP. With a `token` only requests that bear it are served."""

    daemon_threads = True

    def __init__(self, token: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Endpoint)
        self.token = token
        self.origin = f"http://127.0.0.1:{self.server_port}"
        self.url = f"{self.origin}/mcp"
        self.sessions: set[str] = set()
        self.headers_seen: list[dict[str, str]] = []
        self.answers: dict[str, queue.Queue[Message]] = {}
        self.metadata: Message | None = None
        """What is said of who gives tokens."""
        self.lifetime_s = 3600
        self.forms: list[dict[str, str]] = []
        """What the token endpoint was sent."""
        self.refuses_all = False
        """Whatever token they bear."""

    def issue(self) -> None:
        """Give tokens itself, from now on, and serve only who has the last one."""
        self.token = "none yet"
        self.metadata = {
            "resource": self.url,
            "authorization_servers": [self.origin],
            "scopes_supported": ["tools"],
        }

    def authorization(self, path: str, body: bytes) -> Message | None:
        """The authorization server: what it says to a GET without, or a POST with a body."""
        match path:
            case "/.well-known/oauth-authorization-server":
                names = ("authorization", "token", "registration")
                return {"issuer": self.origin} | {
                    f"{name}_endpoint": f"{self.origin}/{name}" for name in names
                }
            case "/registration":
                return {"client_id": "client-1", **json.loads(body)}
            case "/token":
                form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
                self.forms.append(form)
                if form.get("code", "right") != "right":
                    return None
                self.token = f"token-{len(self.forms)}"
                number = len(self.forms)
                return {
                    "access_token": self.token,
                    "token_type": "Bearer",
                    "expires_in": self.lifetime_s,
                    "refresh_token": f"refresh-{number}",
                    "scope": "tools",
                }
        return None


class _Endpoint(BaseHTTPRequestHandler):
    server: HttpTools
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server = self.server
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path != "/mcp":
            given = server.authorization(self.path, body)
            self._say(200 if given else 400, json.dumps(given or {"error": "invalid_grant"}).encode())
            return
        server.headers_seen.append({name.lower(): value for name, value in self.headers.items()})
        fits = server.token is None or self.headers["authorization"] == f"Bearer {server.token}"
        if server.refuses_all or not fits:
            self._refuse(401)
            return
        message = json.loads(body)
        if "method" not in message:
            server.answers[message["id"]].put(message)
            self._say(202, b"")
            return
        session = self.headers["mcp-session-id"]
        if message["method"] != "initialize" and session not in server.sessions:
            self._say(404, b"")
            return
        if "id" not in message:
            self._say(202, b"")
            return
        if message["method"] == "initialize":
            session = base64.urlsafe_b64encode(os.urandom(9)).decode()
            server.sessions.add(session)
            response = Tools(lambda _: None, lambda *_: {}).answer(message)
            self._say(200, json.dumps(response).encode(), {"mcp-session-id": session})
            return
        self._stream(message)

    def _stream(self, message: Message) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True

        def send(event: Message) -> None:
            self.wfile.write(f"event: message\ndata: {json.dumps(event)}\n\n".encode())
            self.wfile.flush()

        def ask(method: str, params: Message) -> Message:
            number = f"ask-{os.urandom(4).hex()}"
            waiting = self.server.answers[number] = queue.Queue()
            send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
            answer = waiting.get(timeout=30)
            return answer.get("result") or {"error": answer["error"]["message"]}

        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            response = Tools(send, ask).answer(message)
            assert response is not None
            send(response)

    def do_GET(self) -> None:
        if self.server.metadata is not None and (given := self.server.authorization(self.path, b"")):
            self._say(200, json.dumps(given).encode())
        elif (
            self.path.startswith("/.well-known/oauth-protected-resource") and self.server.metadata is not None
        ):
            self._say(200, json.dumps(self.server.metadata).encode())
        else:
            self._say(405 if self.path == "/mcp" else 404, b"")

    def do_DELETE(self) -> None:
        self.server.sessions.discard(self.headers["mcp-session-id"])
        self._say(200, b"")

    def _refuse(self, status: int) -> None:
        told = f'Bearer resource_metadata="{self.server.origin}/.well-known/oauth-protected-resource/mcp"'
        self._say(status, b"", {"www-authenticate": told} if self.server.metadata is not None else {})

    def _say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def http_tools(token: str | None = None) -> Iterator[HttpTools]:
    with HttpTools(token) as server:
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        try:
            yield server
        finally:
            server.shutdown()
            serving.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
