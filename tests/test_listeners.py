"""Clients by unix socket and websocket: who may come in, what they speak, how they leave."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import hmac
import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from protocol_client import ProtocolClient
from running_server import Marked, RunningServer
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect, unix_connect

from supervisor import exit_codes
from supervisor.listeners.address import ListenError, UnixSocket, WebSocketPort, parse_listen

HELLO = {"id": 1, "method": "initialize", "params": {"clientInfo": {"name": "tests", "version": "1"}}}
TOKEN = "a token that nobody guesses"
SECRET = b"s" * 32
PATIENCE_S = 30.0


class Listening:
    """A server without stdin; its addresses are read from its log."""

    def __init__(self, process: subprocess.Popen[str], urls: list[str]) -> None:
        self.process = process
        self.urls = urls

    @property
    def ws(self) -> str:
        return next(url for url in self.urls if url.startswith("ws://"))

    @property
    def port(self) -> int:
        return int(self.ws.rpartition(":")[2])

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)  # to nobody, if it has ended
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def listen(marked: Marked, workspace: Path) -> Iterator[Callable[..., Listening]]:
    with contextlib.ExitStack() as stack:

        def start(*arguments: str) -> Listening:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "supervisor", "app-server", *arguments],
                cwd=workspace,
                env=marked.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert process.stderr is not None
            stack.callback(process.stderr.close)
            running = Listening(process, [])
            stack.callback(running.stop)
            expected = arguments.count("--listen")
            while len(running.urls) < expected:
                line = process.stderr.readline()
                assert line, "the server ended"
                if "listening: " in line:
                    running.urls.append(line.rpartition("listening: ")[2].strip())
            return running

        yield start
    left = marked.end()
    assert not left, f"{len(left)} processes were left"


def peer_has_unread(peer: socket.socket) -> bool:
    """Whether the server has not taken yet what was sent to it."""
    return bool(int.from_bytes(fcntl.ioctl(peer, termios.TIOCOUTQ, bytes(4)), sys.byteorder))


def attach(marked: Marked, path: Path, **options: Any) -> ProtocolClient:
    argv = [sys.executable, "-P", "-m", "supervisor", "app-server", "proxy", "--sock", str(path)]
    return ProtocolClient(argv, env=marked.env, timeout=PATIENCE_S, **options)


def run(argv: list[str], marked: Marked) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        env=marked.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def say(peer: ClientConnection, message: dict[str, Any]) -> None:
    peer.send(json.dumps(message))


def hear(peer: ClientConnection, identity: int) -> dict[str, Any]:
    """The answer to a request; what comes before it is passed over."""
    while True:
        message = json.loads(peer.recv(PATIENCE_S))
        if message.get("id") == identity and "method" not in message:
            assert isinstance(message, dict)
            return message


def exhaust(peer: ClientConnection) -> None:
    """Read until the server closes the connection."""
    for _ in peer:
        pass


def jwt(claims: dict[str, Any], *, secret: bytes = SECRET, algorithm: str = "HS256") -> str:
    def part(data: bytes) -> bytes:
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    head = part(json.dumps({"alg": algorithm, "typ": "JWT"}).encode())
    signed = head + b"." + part(json.dumps(claims).encode())
    return (signed + b"." + part(hmac.new(secret, signed, hashlib.sha256).digest())).decode()


# --- addresses --------------------------------------------------------------------------------------------------


def test_addresses_are_read_as_the_peer_reads_them():
    assert parse_listen("unix://", "/home/x") == UnixSocket(
        "/home/x/app-server-control/app-server-control.sock"
    )
    assert parse_listen("ws://[::1]:0", "/h") == WebSocketPort("::1", 0)
    assert str(parse_listen("ws://127.0.0.1:80", "/h")) == "ws://127.0.0.1:80"
    for url in ("ws://localhost:1", "ws://127.0.0.1:1/x", "ws://127.0.0.1", "ws://127.0.0.1:70000"):
        with pytest.raises(ListenError, match=r"expected `ws://IP:PORT`"):
            parse_listen(url, "/h")
    with pytest.raises(ListenError, match=r"unsupported --listen URL `foo://`; expected `stdio://`, `unix"):
        parse_listen("foo://", "/h")


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--listen", "off"), exit_codes.USAGE, "no transport configured"),
        (("--listen", "ws://0.0.0.0:0"), exit_codes.FAILED, "refusing to start non-loopback websocket"),
        (("--ws-issuer", "x"), exit_codes.USAGE, "websocket auth flags require `--ws-auth"),
        (("--ws-auth", "capability-token"), exit_codes.USAGE, "`--ws-token-file` or `--ws-token-sha256` is"),
        (
            ("--ws-auth", "capability-token", "--ws-token-sha256", "aa"),
            exit_codes.USAGE,
            "must be a 64-character hex",
        ),
        (("--ws-auth", "signed-bearer-token"), exit_codes.USAGE, "`--ws-shared-secret-file` is required"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(marked, arguments, code, text):
    argv = [sys.executable, "-P", "-m", "supervisor", "app-server", *arguments]
    ended = run(argv, marked)
    assert (ended.returncode, text in ended.stderr) == (code, True), ended.stderr


# --- unix sockets ------------------------------------------------------------------------------------------------


def test_a_unix_socket_takes_lines_and_websockets(listen, marked, tmp_path):
    path = tmp_path / "server.sock"
    running = listen("--listen", f"unix://{path}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with attach(marked, path) as lines, unix_connect(str(path)) as peer:
        lines.initialize()
        thread = lines.request("thread/start", {"cwd": str(tmp_path)})["thread"]["id"]
        say(peer, HELLO)
        assert hear(peer, 1)["result"]["userAgent"].startswith("tests/0.169.0 ")
        say(peer, {"id": 2, "method": "thread/loaded/list", "params": {}})
        assert hear(peer, 2)["result"]["data"] == [thread]
    assert running.stop() == 0
    assert not path.exists()


def test_the_first_bytes_tell_in_whatever_pieces_they_come(listen, tmp_path):
    path = tmp_path / "server.sock"
    listen("--listen", f"unix://{path}")
    line = json.dumps(HELLO).encode() + b" " * 100_000 + b"\n"  # more than is read to tell
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(PATIENCE_S)
            peer.connect(str(path))
            peer.sendall(line)
            assert peer.recv(65536).startswith(b'{"id":1,"result"')
    for start, rest in (
        (b"G", b"ET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
        (b"{", json.dumps(HELLO).encode()[1:] + b"\n"),
    ):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(PATIENCE_S)
            peer.connect(str(path))
            peer.sendall(start)
            while peer_has_unread(peer):
                pass
            peer.sendall(rest)
            assert peer.recv(65536).startswith((b"HTTP/1.1 200", b'{"id":1,"result"'))


def test_a_client_may_close_its_end_and_read_the_answers_then(listen, tmp_path):
    path = tmp_path / "server.sock"
    listen("--listen", f"unix://{path}")
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(PATIENCE_S)
        peer.connect(str(path))
        start = {"id": 2, "method": "thread/start", "params": {"cwd": str(tmp_path)}}
        peer.sendall(b"".join(json.dumps(message).encode() + b"\n" for message in (HELLO, start)))
        peer.shutdown(socket.SHUT_WR)
        heard = b""
        while piece := peer.recv(65536):
            heard += piece
    answers = [json.loads(line) for line in heard.splitlines()]
    assert [answer["id"] for answer in answers if "id" in answer] == [1, 2]


def test_a_dead_servers_socket_is_replaced_and_a_living_ones_is_not(listen, marked, tmp_path):
    path = tmp_path / "server.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    listen("--listen", f"unix://{path}")
    argv = [sys.executable, "-P", "-m", "supervisor", "app-server", "--listen", f"unix://{path}"]
    second = run(argv, marked)
    assert second.returncode == exit_codes.FAILED
    assert f"another server listens at {path}" in second.stderr
    with attach(marked, path) as client:
        client.initialize()


def test_a_file_that_is_no_socket_is_left_alone(marked, tmp_path):
    path = tmp_path / "notes"
    path.write_text("mine")
    argv = [sys.executable, "-P", "-m", "supervisor", "app-server", "--listen", f"unix://{path}"]
    ended = run(argv, marked)
    assert ended.returncode == exit_codes.FAILED
    assert "exists and is no socket" in ended.stderr
    assert path.read_text() == "mine"


# --- websockets ---------------------------------------------------------------------------------------------------


def test_a_turn_over_a_websocket(listen, workspace):
    running = listen("--listen", "ws://127.0.0.1:0")
    with connect(running.ws, max_size=None) as peer:
        say(peer, HELLO)
        hear(peer, 1)
        say(peer, {"id": 2, "method": "thread/start", "params": {"cwd": str(workspace)}})
        thread = hear(peer, 2)["result"]["thread"]["id"]
        text = {"type": "text", "text": "!say hello"}
        # In pieces: a message may come in several frames.
        request = json.dumps(
            {"id": 3, "method": "turn/start", "params": {"threadId": thread, "input": [text]}}
        )
        peer.send(iter([request[:20], request[20:]]))
        methods = []
        while "turn/completed" not in methods:
            methods.append(json.loads(peer.recv(PATIENCE_S)).get("method"))
        assert methods.index("turn/started") < methods.index("item/agentMessage/delta")
        peer.ping().wait(PATIENCE_S)


def test_probes_and_pages(listen):
    running = listen("--listen", "ws://127.0.0.1:0")

    def get(path: str, **headers: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            connection.request("GET", path, headers=headers)
            return connection.getresponse().status

    assert get("/healthz") == get("/readyz") == 200
    assert get("/healthz", Origin="http://example.org") == 403
    assert get("/") in (400, 426)
    assert get("/metrics", Origin="http://example.org") == 403
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (200, "text/plain")
        assert "bulkhead_loop_lag_seconds_count" in answer.read().decode()
    with pytest.raises(InvalidStatus) as refused:
        connect(running.ws, origin="http://example.org")
    assert refused.value.response.status_code == 403


def refusal(url: str, token: str | None, *others: str) -> str:
    """`others` are tokens in headers of the same name."""
    headers = [("Authorization", f"Bearer {one}") for one in (token, *others) if one is not None]
    try:
        with connect(url, additional_headers=headers) as peer:
            say(peer, HELLO)
            assert "result" in hear(peer, 1)
            return ""
    except InvalidStatus as refused:
        response = refused.response
    assert response.status_code == 401
    return (response.body or b"").decode()


def test_a_capability_token(listen, tmp_path):
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    by_file = listen(
        "--listen", "ws://127.0.0.1:0", "--ws-auth", "capability-token", "--ws-token-file", str(file)
    )
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    by_digest = listen(
        "--listen", "ws://0.0.0.0:0", "--ws-auth", "capability-token", "--ws-token-sha256", digest
    )
    for url in (by_file.ws, by_digest.ws.replace("0.0.0.0", "127.0.0.1")):
        assert refusal(url, TOKEN) == ""
        assert refusal(url, None) == "missing websocket bearer token"
        assert refusal(url, "another") == "invalid websocket bearer token"
        assert refusal(url, "schlüssel") == "invalid authorization header"
        assert refusal(url, TOKEN, "another") == ""
        assert refusal(url, "another", TOKEN) == "invalid websocket bearer token"


def test_a_signed_bearer_token(listen, tmp_path):
    file = tmp_path / "secret"
    file.write_bytes(SECRET)
    running = listen(
        "--listen", "ws://127.0.0.1:0", "--ws-auth", "signed-bearer-token", "--ws-shared-secret-file", str(file),
        "--ws-issuer", "me", "--ws-audience", "you", "--ws-max-clock-skew-seconds", "30",
    )  # fmt: skip
    now = int(time.time())
    good = {"exp": now + 600, "iss": "me", "aud": "you"}
    for claims, text in [
        (good, ""),
        ({**good, "aud": ["you", "others"]}, ""),
        ({**good, "exp": now - 10}, ""),
        ({**good, "exp": now - 600}, "expired websocket jwt"),
        ({**good, "nbf": now + 600}, "websocket jwt is not valid yet"),
        ({**good, "iss": "x"}, "websocket jwt issuer mismatch"),
        ({"exp": now + 600, "iss": "me"}, "websocket jwt audience mismatch"),
        ({"iss": "me", "aud": "you"}, "invalid websocket jwt"),
    ]:
        assert refusal(running.ws, jwt(claims)) == text
    assert refusal(running.ws, jwt(good, secret=b"z" * 32)) == "invalid websocket jwt"
    assert refusal(running.ws, jwt(good, algorithm="none")) == "invalid websocket jwt"


def test_rubbish_ends_its_own_connection_and_nothing_else(listen):
    running = listen("--listen", "ws://127.0.0.1:0")
    with connect(running.ws) as good:
        say(good, HELLO)
        hear(good, 1)
        for rubbish in (b"\x16\x03\x01 no http", b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 500, b"\0" * 100_000):
            address = "127.0.0.1", running.port
            with socket.create_connection(address, PATIENCE_S) as peer, contextlib.suppress(OSError):
                peer.sendall(rubbish)
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(65536):
                    pass
        with connect(running.ws) as bad:
            bad.send(b"\xff\xfe not utf-8")
            bad.send("not json")
            say(bad, HELLO)
            assert "result" in hear(bad, 1)
            bad.socket.sendall(b"\xff" * 64)  # frames with every reserved bit set
            with pytest.raises(ConnectionClosedError, match="1002"):
                exhaust(bad)
        say(good, {"id": 2, "method": "thread/loaded/list", "params": {}})
        assert hear(good, 2)["result"]["data"] == []


# --- together with stdio --------------------------------------------------------------------------------------------


def test_who_started_the_server_ends_it(server, marked, tmp_path):
    path = tmp_path / "server.sock"
    first: RunningServer = server("--stdio", "--listen", f"unix://{path}")
    second = attach(marked, path)
    with second:
        second.initialize()
        thread = first.start_thread()
        assert second.request("thread/loaded/list", {})["data"] == [thread]
        assert first.close() == 0
        assert second.close() == 0
    assert not os.path.exists(path)
