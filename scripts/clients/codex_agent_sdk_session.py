"""codex-agent-sdk. Arguments: server, home, workspace."""

import asyncio
import os
import sys

from codex_agent_sdk import CodexClient, CodexClientOptions

binary, home, workspace = sys.argv[1:]


async def main() -> None:
    asked = []

    async def approve(params: dict) -> str:
        asked.append(params["itemId"])
        return "accept"

    options = CodexClientOptions(codex_path=binary, cwd=workspace, env={**os.environ, "BULKHEAD_HOME": home})
    client = CodexClient(options, command_approval_handler=approve)
    await client.connect()
    notifications = client.notifications()

    async def turn(thread: str, text: str, until: str = "turn/completed") -> tuple[dict, str]:
        """Begin a turn; what it says of its end (or of `until`), and its text so far."""
        begun = await client.turn_start({"threadId": thread, "input": [{"type": "text", "text": text}]})
        words = []
        async for message in notifications:
            if message["method"] == "item/agentMessage/delta":
                words.append(message["params"]["delta"])
            if message["method"] == until:
                break
        return {**message["params"], "begun": begun["turn"]["id"]}, "".join(words)

    settings = {"cwd": workspace, "approvalPolicy": "untrusted", "sandbox": "workspace-write"}
    thread = (await client.thread_start(settings))["thread"]["id"]
    print("done start", flush=True)
    _, text = await turn(thread, "!say A first answer.")
    assert text == "A first answer.", text
    print("done stream", flush=True)
    _, text = await turn(thread, "!run mkdir asked\n!then\n!say It ran.")
    assert text == "It ran.", text
    assert len(asked) == 1, asked
    assert os.path.isdir(os.path.join(workspace, "asked"))
    print("done approval", flush=True)
    started, _ = await turn(thread, "!say Wait.\n!sleep 60", until="item/agentMessage/delta")
    await client.turn_interrupt({"threadId": thread, "turnId": started["begun"]})
    async for message in notifications:
        if message["method"] == "turn/completed":
            break
    assert message["params"]["turn"]["status"] == "interrupted", message
    print("done interrupt", flush=True)
    await client.thread_resume({"threadId": thread})
    _, text = await turn(thread, "!say Still here.")
    assert text == "Still here.", text
    print("done resume", flush=True)
    print("none list", flush=True)
    await client.close()


asyncio.run(main())
