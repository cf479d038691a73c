"""openai-codex, the official Python SDK. Arguments: server, home, workspace."""

import os
import sys

from openai_codex import ApprovalMode, Codex, CodexConfig, Sandbox

binary, home, workspace = sys.argv[1:]
escalated = (
    '{"cmd": "echo asked > asked.txt", "sandbox_permissions": "require_escalated", "justification": "to see"}'
)

config = CodexConfig(codex_bin=binary, env={**os.environ, "BULKHEAD_HOME": home})
with Codex(config) as codex:
    thread = codex.thread_start(
        approval_mode=ApprovalMode.auto_review, sandbox=Sandbox.workspace_write, cwd=workspace
    )
    print("done start", flush=True)
    events = thread.turn("!say A first answer.").stream()
    deltas = [event.payload.delta for event in events if event.method == "item/agentMessage/delta"]
    assert "".join(deltas) == "A first answer.", deltas
    print("done stream", flush=True)
    turn = thread.run(f"!tool exec_command {escalated}\n!then\n!say It ran.")
    assert turn.final_response == "It ran.", turn
    assert os.path.exists(os.path.join(workspace, "asked.txt"))
    print("done approval", flush=True)
    running = thread.turn("!run sleep 60\n!then\n!say never")
    for event in running.stream():
        if event.method == "item/started" and event.payload.item.root.type == "commandExecution":
            running.interrupt()
        if event.method == "turn/completed":
            assert event.payload.turn.status.value == "interrupted", event
    print("done interrupt", flush=True)
    assert codex.thread_resume(thread.id).run("!say Still here.").final_response == "Still here."
    thread.set_name("driven by the SDK")
    assert thread.read().thread.name == "driven by the SDK"
    print("done resume", flush=True)
    assert [t.id for t in codex.thread_list().data] == [thread.id]
    assert codex.models().data
    print("done list", flush=True)
