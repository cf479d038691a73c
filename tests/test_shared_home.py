"""One home for two programs: a thread of ours goes on in Codex 0.169, and comes back."""

from __future__ import annotations

import json
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from mcp_threads import configure_home, table
from protocol_client import ProtocolClient
from running_server import write_config
from test_client_tools import CALL, FOUND, PLAN_MODE, TOOLS
from test_turns import PATCH, PNG


def ends(told):
    return [line["params"]["turn"]["status"] for line in told if line["method"] == "turn/completed"]


def loaded(client, thread):
    """The kinds of items of each turn, as the program tells them when it loads the thread."""
    assert thread in [row["id"] for row in client.request("thread/list", {})["data"]]
    turns = client.request("thread/resume", {"threadId": thread})["thread"]["turns"]
    return [[item["type"] for item in turn["items"]] for turn in turns]


def test_a_thread_goes_to_codex_and_comes_back(binary, marked, server, model, home):
    client = server()
    thread = client.start_thread()
    assert ends(client.turn(thread, "!run echo one\n!then\n!say said one")) == ["completed"]
    assert ends(client.turn(thread, PATCH)) == ["completed"]
    client.close()

    stored = [
        ["userMessage", "commandExecution", "agentMessage"],
        ["userMessage", "fileChange", "agentMessage"],
    ]
    with ProtocolClient(
        [binary, "app-server"], cwd=home, env={**marked.env, "CODEX_HOME": str(home)}
    ) as codex:
        codex.initialize(experimentalApi=True)
        assert loaded(codex, thread) == stored
        assert ends(codex.turn(thread, "!say Codex was here.")) == ["completed"]
        seen_by_codex = model.requests()[-1].body["input"]

    stored.append(["userMessage", "agentMessage"])
    client = server()
    assert loaded(client, thread) == stored
    assert ends(client.turn(thread, "!say Bulkhead again.")) == ["completed"]
    # The model is told the same story by both: the calls, what came of them, and what was said.
    told = [_essence(item) for item in model.requests()[-1].body["input"]]
    heard = [_essence(item) for item in seen_by_codex]
    start = heard.index(("function_call", None))
    assert told[told.index(("function_call", None)) :][: len(heard) - start] == heard[start:]
    assert ("assistant", "Codex was here.") in told


def _essence(item):
    if item["type"] != "message":
        return (item["type"], None)
    return (item["role"], item["content"][0]["text"])


# --- every kind of item ---------------------------------------------------------------------------------------

SEARCH = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
SEARCH_EVENTS = [
    {"type": "response.created", "response": {"id": "resp_ws"}},
    {"type": "response.output_item.added", "output_index": 0, "item": {**SEARCH, "status": "in_progress"}},
    {
        "type": "response.output_item.done",
        "output_index": 0,
        "item": {**SEARCH, "action": {"type": "search", "query": "weather"}},
    },
    {"type": "response.completed", "response": {"id": "resp_ws", "usage": None}},
]
FINDING = {
    "title": "[P1] Off by one",
    "body": "It stops early.",
    "code_location": {"absolute_file_path": "/x/a.py", "line_range": {"start": 1, "end": 2}},
}
REVIEW = {"findings": [FINDING], "overall_explanation": "There is a bug."}
MADE = {
    "agentMessage",
    "commandExecution",
    "contextCompaction",
    "dynamicToolCall",
    "enteredReviewMode",
    "exitedReviewMode",
    "fileChange",
    "imageView",
    "plan",
    "reasoning",
    "userMessage",
    "webSearch",
}


class Searching(BaseHTTPRequestHandler):
    """A model that answers everything with a search of its own: the scripted one has none."""

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in SEARCH_EVENTS)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


@contextmanager
def searching_model(home):
    """A model in place of the scripted one while it lasts; not as another provider, which Codex refuses for a thread."""
    config = home / "config.toml"
    before = config.read_text()
    with ThreadingHTTPServer(("127.0.0.1", 0), Searching) as listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
        thread.start()
        write_config(home, f"http://127.0.0.1:{listener.server_port}/v1")
        try:
            yield
        finally:
            listener.shutdown()
            thread.join()
            config.write_text(before)


def ended(client, since):
    """Wait for the end of the next turn, whose id is not that of its beginning if it is a review."""
    assert client.wait_for("turn/completed", since=since).params["turn"]["status"] == "completed"


def read(client, thread):
    return client.request("thread/read", {"threadId": thread, "includeTurns": True})["thread"]["turns"]


def make_every_kind(server, home, workspace):
    """A thread with all kinds of items; its id."""
    (workspace / "pic.png").write_bytes(PNG)
    client = server(handler=lambda *_: FOUND)
    thread = client.start_thread(dynamicTools=TOOLS)
    script = "!think Thinking.\n!think-raw Raw.\n!comment Look.\n!run echo one; exit 3\n!view pic.png\n!then\n!say Seen."
    assert ends(client.turn(thread, script)) == ["completed"]
    assert ends(client.turn(thread, PATCH)) == ["completed"]
    assert ends(client.turn(thread, CALL)) == ["completed"]
    plan = "!say <<END\nMy plan:\n<proposed_plan>\n- do it\n</proposed_plan>\nEND"
    assert ends(client.turn(thread, plan, collaborationMode=PLAN_MODE)) == ["completed"]
    since = client.mark()
    target = {"type": "custom", "instructions": f"!say {json.dumps(REVIEW)}"}
    client.request("review/start", {"threadId": thread, "target": target})
    ended(client, since)
    for method, params in (("thread/shellCommand", {"command": "echo mine"}), ("thread/compact/start", {})):
        since = client.mark()
        client.request(method, {"threadId": thread, **params})
        ended(client, since)
    client.close()
    with searching_model(home):
        client = server()
        client.request("thread/resume", {"threadId": thread})
        assert ends(client.turn(thread, "What is the weather?")) == ["completed"]
        client.close()
    return thread


def test_codex_reads_every_kind_of_item_as_it_is_read_here(binary, marked, server, home, workspace):
    thread = make_every_kind(server, home, workspace)
    client = server()
    ours = read(client, thread)
    client.close()
    assert {item["type"] for turn in ours for item in turn["items"]} == MADE
    sources = [
        item["source"] for turn in ours for item in turn["items"] if item["type"] == "commandExecution"
    ]
    assert sources == ["unifiedExecStartup", "userShell"]
    with ProtocolClient(
        [binary, "app-server"], cwd=home, env={**marked.env, "CODEX_HOME": str(home)}
    ) as codex:
        codex.initialize(experimentalApi=True)
        # Codex reads a paginated thread out of an index, which it fills when it loads a thread that others wrote.
        assert codex.request("thread/resume", {"threadId": thread})["thread"]["turns"] == ours
        assert read(codex, thread) == ours
        assert ends(codex.turn(thread, "!say Codex was here.")) == ["completed"]
    client = server()
    assert read(client, thread)[: len(ours)] == ours


# --- calls of MCP servers ---------------------------------------------------------------------------------------

MCP_CALLS = "\n!then\n".join(f"!tool mcp__tools__{tool} {{}}" for tool in ("look", "parts", "fail", "refuse"))


def mcp_items(client, thread):
    turns = client.request("thread/resume", {"threadId": thread})["thread"]["turns"]
    return [item for turn in turns for item in turn["items"] if item["type"] == "mcpToolCall"]


def test_calls_of_mcp_servers_are_shown_alike_by_both(binary, marked, server, home):
    configure_home(home, table())
    client = server()
    thread = client.start_thread()
    assert ends(client.turn(thread, f"{MCP_CALLS}\n!then\n!say done")) == ["completed"]
    told = [line.params["item"] for line in client.received("item/completed")]
    ours = [item for item in told if item["type"] == "mcpToolCall"]
    client.close()
    assert [item["status"] for item in ours] == ["completed", "completed", "failed", "failed"]

    with ProtocolClient(
        [binary, "app-server"], cwd=home, env={**marked.env, "CODEX_HOME": str(home)}
    ) as codex:
        codex.initialize(experimentalApi=True)
        assert mcp_items(codex, thread) == ours
        codex.wait_for(
            lambda m: (
                m.get("method") == "mcpServer/startupStatus/updated" and m["params"]["status"] == "ready"
            )
        )
        assert ends(codex.turn(thread, f"{MCP_CALLS}\n!then\n!say done")) == ["completed"]
        told = [line.params["item"] for line in codex.received("item/completed")]
        theirs = [item for item in told if item["type"] == "mcpToolCall"]
    assert [item["status"] for item in theirs] == ["completed", "completed", "failed", "failed"]
    assert mcp_items(server(), thread) == [*ours, *theirs]


# --- what both say of a thread ----------------------------------------------------------------------------------


def told_of(client, thread):
    """A thread as a program shows it after a start of its own, but for what is only that program's."""
    [listed] = [row for row in client.request("thread/list", {})["data"] if row["id"] == thread]
    resumed = client.request("thread/resume", {"threadId": thread})
    settings = ("model", "approvalPolicy", "sandbox", "activePermissionProfile", "cwd", "reasoningEffort")
    turns = [
        (turn["status"], [(item["type"], item.get("aggregatedOutput")) for item in turn["items"]])
        for turn in resumed["thread"]["turns"]
    ]
    facts = {key: listed[key] for key in ("preview", "gitInfo", "path", "modelProvider")}
    return facts | {key: resumed[key] for key in settings} | {"turns": turns}


def live(client, **start):
    """A thread with a long output, a failed and an interrupted turn."""
    thread = client.request("thread/start", start)["thread"]["id"]
    client.turn(thread, "!run seq 1 30000\n!then\n!say done")
    client.turn(thread, "!say half\n!incomplete max_output_tokens")
    since = client.mark()
    started = {"threadId": thread, "input": [{"type": "text", "text": "!say begun\n!hang"}]}
    turn = client.request("turn/start", started)["turn"]["id"]
    client.wait_for(
        lambda line: (
            line.get("method") == "item/completed" and line["params"]["item"]["type"] == "agentMessage"
        ),
        since=since,
    )
    client.request("turn/interrupt", {"threadId": thread, "turnId": turn})
    client.wait_for("turn/completed", since=since)
    return thread


def test_both_programs_say_the_same_of_each_others_threads(binary, marked, server, workspace):
    for command in (["init", "-q", "-b", "main"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        who = ("-c", "user.name=a", "-c", "user.email=a@example.com")
        subprocess.run(["git", *who, *command], cwd=workspace, check=True)
    env = {**marked.env, "CODEX_HOME": marked.env["BULKHEAD_HOME"]}

    def codex():
        return ProtocolClient([binary, "app-server"], cwd=workspace, env=env)

    client = server()
    ours = live(client, cwd=str(workspace), permissions=":workspace")
    client.close()
    with codex() as other:
        other.initialize(experimentalApi=True)
        theirs = live(other, cwd=str(workspace), sandbox="danger-full-access", approvalPolicy="never")
    with codex() as other:
        other.initialize(experimentalApi=True)
        heard = [told_of(other, thread) for thread in (ours, theirs)]
    client = server()
    assert [told_of(client, thread) for thread in (ours, theirs)] == heard
    assert heard[0]["gitInfo"]["branch"] == "main"
    assert [status for status, _ in heard[0]["turns"]] == ["completed", "failed", "interrupted"]
