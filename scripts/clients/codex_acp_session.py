"""codex-acp, the adapter for editors that speak ACP; this is such an editor. Arguments: server, home, workspace, adapter."""

import json
import os
import subprocess
import sys

binary, home, workspace, adapter = sys.argv[1:]


class Editor:
    def __init__(self) -> None:
        environment = {**os.environ, "CODEX_PATH": binary, "BULKHEAD_HOME": home, "CODEX_HOME": home}
        self.process = subprocess.Popen(
            ["node", adapter],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=workspace,
            env=environment,
        )
        self.updates = []
        self.asked = []
        self.on_update = None
        self._next = 0

    def send(self, message: dict) -> None:
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.process.stdin.flush()

    def request(self, method: str, **params: object) -> dict:
        self._next += 1
        self.send({"id": self._next, "method": method, "params": params})
        for line in self.process.stdout:
            message = json.loads(line)
            if message.get("method") == "session/request_permission":
                self.asked.append(message["params"])
                options = message["params"]["options"]
                chosen = next(option for option in options if option["kind"] == "allow_once")
                outcome = {"outcome": "selected", "optionId": chosen["optionId"]}
                self.send({"id": message["id"], "result": {"outcome": outcome}})
            elif message.get("method") == "session/update":
                self.updates.append(message["params"]["update"])
                if self.on_update:
                    self.on_update(message["params"]["update"])
            elif message.get("id") == self._next and "method" not in message:
                assert "result" in message, message
                return message["result"]
        raise AssertionError("the adapter ended")

    def prompt(self, session: str, text: str) -> dict:
        self.updates.clear()
        return self.request("session/prompt", sessionId=session, prompt=[{"type": "text", "text": text}])

    def text(self) -> str:
        chunks = (update for update in self.updates if update["sessionUpdate"] == "agent_message_chunk")
        return "".join(chunk["content"].get("text", "") for chunk in chunks)


editor = Editor()
try:
    editor.request("initialize", protocolVersion=1, clientCapabilities={})
    session = editor.request("session/new", cwd=workspace, mcpServers=[])["sessionId"]
    print("done start", flush=True)
    assert editor.prompt(session, "!say A first answer.")["stopReason"] == "end_turn"
    assert editor.text() == "A first answer.", editor.updates
    print("done stream", flush=True)
    escalated = {"cmd": "mkdir asked", "sandbox_permissions": "require_escalated", "justification": "to see"}
    editor.prompt(session, f"!tool exec_command {json.dumps(escalated)}\n!then\n!say It ran.")
    assert editor.asked, editor.updates
    assert os.path.isdir(os.path.join(workspace, "asked"))
    print("done approval", flush=True)

    def stop(update: dict) -> None:
        if update["sessionUpdate"] == "tool_call":
            editor.send({"method": "session/cancel", "params": {"sessionId": session}})

    editor.on_update = stop
    assert editor.prompt(session, "!run sleep 60\n!then\n!say never")["stopReason"] == "cancelled"
    editor.on_update = None
    print("done interrupt", flush=True)
    editor.request("session/load", sessionId=session, cwd=workspace, mcpServers=[])
    editor.prompt(session, "!say Still here.")
    assert "Still here." in editor.text(), editor.updates
    print("done resume", flush=True)
    listed = editor.request("session/list", cwd=workspace)["sessions"]
    assert session in [row["sessionId"] for row in listed], listed
    print("done list", flush=True)
finally:
    editor.process.stdin.close()
    editor.process.kill()
    editor.process.wait()
