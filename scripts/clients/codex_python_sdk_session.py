"""codex-python-sdk. Arguments: server, home, workspace."""

import asyncio
import json
import os
import sys

from codex_python_sdk import create_async_client

binary, home, workspace = sys.argv[1:]
ASKS = {"cwd": workspace, "approvalPolicy": "on-request", "sandbox": "workspace-write"}
ESCALATED = {"cmd": "mkdir asked", "sandbox_permissions": "require_escalated", "justification": "to see"}


async def main() -> None:
    asked = []

    def approve(params: dict) -> dict:
        asked.append(params["itemId"])
        return {"decision": "accept"}

    client = create_async_client(
        codex_command=binary,
        env={**os.environ, "BULKHEAD_HOME": home, "CODEX_HOME": home},
        process_cwd=workspace,
        on_command_approval=approve,
        automatic_approval_review=False,
    )
    await client.connect()
    try:
        thread = (await client.thread_start(params=ASKS))["thread"]["id"]
        print("done start", flush=True)
        said = client.responses_stream_text(prompt="!say A first answer.", thread_id=thread)
        assert "".join([delta async for delta in said]) == "A first answer."
        print("done stream", flush=True)
        call = f"!tool exec_command {json.dumps(ESCALATED)}\n!then\n!say It ran."
        answer = await client.responses_create(prompt=call, thread_id=thread)
        assert (answer.text, len(asked)) == ("It ran.", 1), (answer, asked)
        assert os.path.isdir(os.path.join(workspace, "asked"))
        print("done approval", flush=True)
        ends = []
        async for event in client.responses_events(
            prompt="!run sleep 60\n!then\n!say never", thread_id=thread
        ):
            params = event.raw.get("params") or {}
            if event.type == "item/started" and params["item"]["type"] == "commandExecution":
                await client.turn_interrupt(thread, params["turnId"])
            if event.type == "turn/completed":
                ends.append(params["turn"]["status"])
        assert ends == ["interrupted"], ends
        print("done interrupt", flush=True)
    finally:
        await client.close()
    again = create_async_client(
        codex_command=binary,
        env={**os.environ, "BULKHEAD_HOME": home, "CODEX_HOME": home},
        process_cwd=workspace,
    )
    await again.connect()
    try:
        answer = await again.responses_create(prompt="!say Still here.", thread_id=thread)
        assert answer.text == "Still here.", answer
        print("done resume", flush=True)
        assert thread in [row["id"] for row in await again.thread_list()]
        print("done list", flush=True)
    finally:
        await again.close()


asyncio.run(main())
