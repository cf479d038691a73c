"""Whatever comes in, what goes out is well formed, and nothing that fits the schema is an internal error.

BULKHEAD_EXAMPLES=200 looks longer and elsewhere each time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from issuer_server import Issuer
from running_server import Marked, RunningServer
from schema_values import LETTERS, anything, values
from test_export import strict

from protocol.export.document import Document, document
from protocol.methods import METHODS
from protocol.rpc import INTERNAL_ERROR
from protocol.unsupported import UNSUPPORTED

Start = Callable[..., RunningServer]

EXAMPLES = int(os.environ.get("BULKHEAD_EXAMPLES", "12"))
SLOWEST_EXAMPLE_S = 10.0
"""One of each method takes 0.3 s on a machine with nothing else to do."""
CHECKED = settings(
    max_examples=EXAMPLES,
    derandomize="BULKHEAD_EXAMPLES" not in os.environ,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
ANYTHING = settings(CHECKED, max_examples=10 * EXAMPLES)
TEXTS = st.text(max_size=6)
BEYOND = 2**64
NAMES = st.sampled_from(["id", "method", "params", "result", "error", "jsonrpc", "threadId", "input"])
IDS = (
    st.integers(-(2**63), 2**63 - 1)
    | TEXTS
    | st.none()
    | st.floats(-9, 9)
    | st.integers(BEYOND)
    | st.lists(TEXTS)
)
LINES = anything(TEXTS | NAMES) | st.fixed_dictionaries(
    {},
    optional={
        "id": IDS,
        "method": st.sampled_from([*METHODS, *UNSUPPORTED]) | TEXTS | st.integers(),
        "params": anything(TEXTS | NAMES),
        "result": anything(TEXTS),
        "error": anything(TEXTS),
        "jsonrpc": st.just("2.0") | st.integers(),
    },
)
UNASKED = frozenset({"initialize", "thread/start", "thread/fork"})
"""Not called with any JSON: they succeed too often, and a worker for each is slow."""


def answerable(message: Any) -> bool:
    if not isinstance(message, dict) or not isinstance(message.get("method"), str):
        return False
    identity = message.get("id")
    whole = isinstance(identity, int) and not isinstance(identity, bool) and -(2**63) <= identity < 2**63
    return whole or isinstance(identity, str)


@pytest.mark.timeout(EXAMPLES * SLOWEST_EXAMPLE_S)
def test_any_json_gets_a_well_formed_answer_or_none(server: Start) -> None:
    client = server()

    @ANYTHING
    @given(message=LINES)
    def say(message: Any) -> None:
        if isinstance(message, dict) and str(message.get("method")) in UNASKED:
            return
        since = client.mark()
        client.send_raw(json.dumps(message).encode() + b"\n")
        if answerable(message):
            line = client.wait_for(lambda m: "method" not in m and m["id"] == message["id"], since=since)
            well_formed(line.message)
        else:
            # Not `request`: a message before may have had the id that this one gets.
            client.result(client.start_request("thread/loaded/list", {}), since=since)
            answers = [
                line for line in client.received(since=since) if line.message and "method" not in line.message
            ]
            assert len(answers) == 1

    say()


def well_formed(answer: Any) -> None:
    if "result" in answer:
        assert answer.keys() == {"id", "result"}
        assert isinstance(answer["result"], dict)
    else:
        assert answer.keys() == {"id", "error"}
        assert {"code", "message"} <= answer["error"].keys() <= {"code", "message", "data"}
        assert isinstance(answer["error"]["code"], int)
        assert answer["error"]["message"]


class Asked:
    """Calls methods with params that their schema allows, and looks at what comes back."""

    def __init__(self, client: RunningServer, scratch: str) -> None:
        self.client = client
        self.scratch = scratch
        self.whole: Document = document(experimental=True)
        self._strict = strict(self.whole.definitions)
        self.thread = ""
        self.turn = ""

    def try_method(self, method: str) -> None:
        if self.thread not in self.client.request("thread/loaded/list", {})["data"]:
            self.thread = self.client.start_thread(cwd=self.scratch)
            self.turn = self.client.turn(self.thread, "hello")[-1]["params"]["turn"]["id"]
        name = self.whole.params[method]
        # Every path there can be is in the scratch folder: some methods remove what they are given.
        texts = st.sampled_from(
            [
                self.thread,
                self.turn,
                self.scratch,
                f"{self.scratch}/{method.replace('/', '-')}",
                "true",
                "model",
            ]
        ) | st.text(LETTERS, max_size=4)
        schema = {"type": "null"} if name is None else self.whole.definitions[name]

        @CHECKED
        @given(params=values(schema, self.whole.definitions, texts))
        def ask(params: Any) -> None:
            self._ask(method, params)

        ask()

    def _ask(self, method: str, params: Any) -> None:
        client = self.client
        since = client.mark()
        identity = client.start_request(method, params)
        answer = client.wait_for(
            lambda m: "method" not in m and m["id"] == identity,
            since=since,
            what=f"the answer to {method} {params}",
        ).message
        well_formed(answer)
        assert answer is not None
        if "error" in answer:
            error = answer["error"]
            inside = error["code"] == INTERNAL_ERROR and error["message"].startswith("internal error")
            assert not inside, (method, params, error, client.stderr[-2000:])
        else:
            check = jsonschema.Draft7Validator(
                {"$ref": f"#/definitions/{self.whole.results[method]}", "definitions": self._strict}
            )
            check.validate(answer["result"])


@pytest.mark.timeout(EXAMPLES * SLOWEST_EXAMPLE_S)
def test_what_fits_the_schema_is_no_internal_error(
    server: Start, marked: Marked, issuer: Issuer, tmp_path: Any
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    # Else logins ask the real issuer, whose name alone may take longer to look up than an answer may.
    marked.env.update(issuer.env)
    asked = Asked(server("-c", "bulkhead.login_port=0"), str(scratch))
    for method in METHODS:
        if method != "initialize":
            asked.try_method(method)
            scratch.mkdir(exist_ok=True)
