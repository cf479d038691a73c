"""tdai-codex-sdk, which answers every approval by itself. Arguments: server, home, workspace."""

import os
import sys

from codex_app_server import AppServerConfig, AskForApproval, Codex, SandboxMode, TextInput

binary, home, workspace = sys.argv[1:]

config = AppServerConfig(codex_bin=binary, env={**os.environ, "BULKHEAD_HOME": home})
with Codex(config) as codex:
    thread = codex.thread_start(
        approval_policy=AskForApproval.model_validate("untrusted"),
        sandbox=SandboxMode.workspace_write,
        cwd=workspace,
    )
    print("done start", flush=True)
    events = thread.turn(TextInput("!say A first answer.")).stream()
    deltas = [event.payload.delta for event in events if event.method == "item/agentMessage/delta"]
    assert "".join(deltas) == "A first answer.", deltas
    print("done stream", flush=True)
    turn = thread.run("!run mkdir asked\n!then\n!say It ran.")
    assert turn.final_response == "It ran.", turn
    assert os.path.isdir(os.path.join(workspace, "asked"))
    print("done approval", flush=True)
    running = thread.turn(TextInput("!say Wait.\n!sleep 60"))
    for event in running.stream():
        if event.method == "item/agentMessage/delta":
            running.interrupt()
        if event.method == "turn/completed":
            assert event.payload.turn.status.value == "interrupted", event
    print("done interrupt", flush=True)
    assert codex.thread_resume(thread.id).run("!say Still here.").final_response == "Still here."
    print("done resume", flush=True)
    assert [row.id for row in codex.thread_list().data] == [thread.id]
    print("done list", flush=True)
