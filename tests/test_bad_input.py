"""Whatever a client writes: what has an id is answered, nothing else is, and the server goes on serving."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from protocol_client import RpcError

from protocol.methods import METHODS

HUNDRED_MB = 100_000_000
DEPTH = 100_000
PIECE = 1 << 20

DEEP = b"[" * DEPTH + b"]" * DEPTH

UNANSWERED = {
    "an empty line": b"",
    "blanks": b" \t ",
    "no JSON": b"Hello, server!",
    "broken JSON": b'{"id": 1, "method": "model/list", "params": {',
    "broken JSON with an id": b'{"id": 1, "method": model/list, "params": {}}',
    "bytes that are no UTF-8": b"\xff\xfe\x80",
    "a NUL": b"\0",
    "a number": b"5",
    "a string": b'"model/list"',
    "null": b"null",
    "an array": b"[]",
    "a batch": b'[{"id": 1, "method": "model/list", "params": {}}]',
    "an empty object": b"{}",
    "an id alone": b'{"id": 92}',
    "a method that is no string": b'{"id": 1, "method": 5}',
    "a null id": b'{"id": null, "method": "model/list", "params": {}}',
    "a float id": b'{"id": 1.5, "method": "model/list", "params": {}}',
    "an exponent id": b'{"id": 1e3, "method": "model/list", "params": {}}',
    "a bool id": b'{"id": true, "method": "model/list", "params": {}}',
    "an array id": b'{"id": [1], "method": "model/list", "params": {}}',
    "an id beyond 64 bits": b'{"id": 9223372036854775808, "method": "model/list", "params": {}}',
    "a notification nobody knows": b'{"method": "nobody/knows", "params": {}}',
    "a response to nothing": b'{"id": 4711, "result": {"decision": "accept"}}',
    "an error to nothing": b'{"id": "no-such", "error": {"code": 1, "message": "no"}}',
    "a response with a huge id": b'{"id": 99999999999999999999999999, "result": {}}',
    "an id that is no UTF-8": b'{"id": "\xff", "method": "model/list", "params": {}}',
    "an id with half a surrogate pair": b'{"id": "\\ud83d", "method": "model/list", "params": {}}',
    "deep nesting": DEEP,
    "deep nesting with an id that is no UTF-8": b'{"id": "\xff", "method": "initialized", "params": '
    + DEEP
    + b"}",
    "deep nesting in a notification": b'{"method": "initialized", "params": ' + DEEP + b"}",
}

REFUSED = {
    "a byte that is no UTF-8": (b'{"id": 71, "method": "model/list", "params": {"cursor": "\xff"}}', 71),
    "such a byte in the method": (b'{"id": 72, "method": "model\xff/list", "params": {}}', 72),
    "half a surrogate pair": (b'{"id": 79, "method": "model/list", "params": {"cursor": "cut \\ud83d"}}', 79),
    "an unknown method": (b'{"id": "x", "method": "nobody/knows", "params": {}}', "x"),
    "no params": (b'{"id": 73, "method": "thread/start"}', 73),
    "null params": (b'{"id": 74, "method": "thread/start", "params": null}', 74),
    "params that are no object": (b'{"id": 75, "method": "thread/start", "params": "cwd"}', 75),
    "a member of a wrong type": (b'{"id": 76, "method": "thread/start", "params": {"cwd": 5}}', 76),
    "a thread that is no id": (
        b'{"id": 77, "method": "turn/start", "params": {"threadId": "one", "input": []}}',
        77,
    ),
    "deep nesting, the id first": (
        b'{"id": 78, "method": "thread/start", "params": {"config": ' + DEEP + b"}}",
        78,
    ),
    "deep nesting, the id last": (
        b'{"method": "thread/start", "params": ' + DEEP + b', "id": "deep"}',
        "deep",
    ),
    "the smallest id": (b'{"id": -9223372036854775808, "method": "nobody/knows"}', -(2**63)),
    "the largest id": (b'{"id": 9223372036854775807, "method": "nobody/knows"}', 2**63 - 1),
}


def write(client, *pieces):
    """Bytes to the server as they are, each piece written on its own, without a copy in the client's record."""
    stdin = client._process.stdin
    for piece in pieces:
        stdin.write(piece)
        stdin.flush()


def answers(client, since):
    return [line.message for line in client.received(since=since) if "method" not in line.message]


def served(client):
    """The server answers as ever."""
    return client.request("model/list", {})["data"] != []


def test_what_has_no_usable_id_gets_no_answer(server):
    client = server()
    for what, line in UNANSWERED.items():
        since = client.mark()
        write(client, line + b"\n")
        assert served(client), what
        assert len(answers(client, since)) == 1, what


def test_what_has_an_id_is_answered_with_an_error(server):
    client = server()
    for what, (line, identity) in REFUSED.items():
        since = client.mark()
        write(client, line + b"\n")
        assert served(client), what
        refusal, _ = answers(client, since)
        assert refusal["id"] == identity, what
        assert refusal["error"]["code"] in (-32600, -32602), what
        assert refusal["error"]["message"], what


def test_lines_beyond_the_limit_are_refused_and_not_kept(server):
    client = server()
    filling = [b"x" * PIECE] * (HUNDRED_MB // PIECE)
    long_lines = {
        1001: (b'{"id": 1001, "method": "thread/start", "params": {"cwd": "', b'"}}\n'),
        "last": (b'{"method": "thread/start", "params": {"cwd": "', b'"}, "id": "last"}\n'),
        None: (b'{"method": "initialized", "params": {"cwd": "', b'"}}\n'),
        "none": (b"", b"\n"),
    }
    for identity, (head, tail) in long_lines.items():
        since = client.mark()
        write(client, head, *filling, tail)
        assert served(client), identity
        found = [message["id"] for message in answers(client, since)[:-1]]
        assert found == ([identity] if identity in (1001, "last") else []), identity
    [refusal] = [message for message in answers(client, 0) if message["id"] == 1001]
    assert "64 MiB" in refusal["error"]["message"]


def test_lines_come_in_any_pieces(server):
    client = server()
    line = json.dumps({"id": "pieces", "method": "model/list", "params": {"cursor": None}}).encode() + b"\n"
    write(client, *(line[place : place + 1] for place in range(len(line))))
    assert client.result("pieces")["data"]
    several = b"".join(
        json.dumps({"id": f"n{number}", "method": "model/list", "params": {}}).encode() + b"\r\n"
        for number in range(20)
    )
    write(client, several[:333], several[333:])
    assert all(client.result(f"n{number}")["data"] for number in range(20))


@pytest.mark.parametrize("depth", [100, 500, 900, 1500, DEPTH])
def test_nesting_of_any_depth_reaches_no_worker_that_it_could_kill(server, depth):
    client = server()
    thread = client.start_thread()
    nested = b"[" * depth + b"]" * depth
    for member in (b'"outputSchema": ', b'"input": '):
        head = b'{"id": "deep", "method": "turn/start", "params": {"threadId": "' + thread.encode() + b'", '
        rest = b', "input": [{"type": "text", "text": "!say deep"}]' if b"output" in member else b""
        since = client.mark()
        write(client, head + member + nested + rest + b"}}\n")
        with suppress(RpcError):
            client.end_of(client.result("deep", since=since)["turn"]["id"], since=since)
    assert client.turn(thread, "!say on we go")[-1]["params"]["turn"]["status"] == "completed"
    assert client.row(thread)["epoch"] == 1


def test_strings_that_are_no_text_reach_no_worker_that_they_could_kill(server):
    client = server()
    thread = client.start_thread()
    for text in (b"\xff", b"\\ud800", b"\xed\xa0\x80", b"\\udc00\\ud800"):
        since = client.mark()
        head = b'{"id": "bad", "method": "turn/start", "params": {"threadId": "' + thread.encode()
        write(client, head + b'", "input": [{"type": "text", "text": "!say ' + text + b'"}]}}\n')
        with pytest.raises(RpcError) as refusal:
            client.result("bad", since=since)
        assert refusal.value.code == -32600, text
    assert client.turn(thread, "!say on we go")[-1]["params"]["turn"]["status"] == "completed"
    assert client.row(thread)["epoch"] == 1


ANSWERS = {
    "a string that is no text": b'"result": {"decision": "\xff"}',
    "an unknown decision": b'"result": {"decision": "perhaps"}',
    "no decision": b'"result": {}',
    "null": b'"result": null',
    "an array": b'"result": []',
    "deep nesting": b'"result": {"decision": ' + b"[" * 900 + b"]" * 900 + b"}",
    "an error": b'"error": {"code": -1, "message": "no"}',
    "an error that is none": b'"error": 5',
}


def test_answers_that_are_none_refuse_the_command_and_kill_nobody(server, workspace):
    client = server()
    thread = client.start_thread(sandbox="read-only", approvalPolicy="untrusted")
    for number, (what, answer) in enumerate(ANSWERS.items()):
        since = client.mark()
        turn = client.begin_turn(thread, f"!run touch {workspace}/made{number}\n!then\n!say done")
        asked = client.wait_for("item/commandExecution/requestApproval", since=since).message
        write(client, b'{"id": ' + json.dumps(asked["id"]).encode() + b", " + answer + b"}\n")
        assert client.end_of(turn, since=since)["status"] == "completed", what
        assert not (workspace / f"made{number}").exists(), what
    assert client.row(thread)["epoch"] == 1


NAMES = st.sampled_from(
    [
        "threadId",
        "cwd",
        "input",
        "turnId",
        "cursor",
        "limit",
        "config",
        "sandbox",
        "approvalPolicy",
        "name",
        "effort",
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
QUIET = frozenset({"initialize"})  # it would be refused every time


def test_every_request_is_answered_whatever_its_params(server):
    client = server()
    thread = client.start_thread()
    methods = st.sampled_from(
        sorted(name for name, row in METHODS.items() if name not in QUIET and not row.hazardous)
    )

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        method=methods,
        params=JSON
        | st.fixed_dictionaries(
            {"threadId": st.just(thread)},
            optional={"input": JSON, "name": JSON, "turnId": JSON, "expectedTurnId": JSON},
        ),
    )
    def ask(method, params):
        if method == "thread/archive":
            return  # it could succeed
        with suppress(RpcError):  # an answer, too
            client.request(method, params)

    ask()
    assert served(client)
    assert client.row(thread)["epoch"] == 1


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        (-1, "invalid value: integer `-1`, expected u32"),
        (2**32, "invalid value: integer `4294967296`, expected u32"),
        ("x", 'invalid type: string "x", expected u32'),
    ],
)
@pytest.mark.parametrize("method", ["thread/list", "model/list"])
def test_a_page_has_32_bits_of_rows(server, method, limit, told):
    with pytest.raises(RpcError) as refused:
        server().request(method, {"limit": limit})
    assert refused.value.message == f"Invalid request: {told}"
