"""What a stream that breaks off leaves behind: calls are carried out once, costs are told, the summary has what was said."""

from __future__ import annotations

from test_turns import items, methods, outputs

COMMAND_THEN_CUT = "!comment looking\n!run echo once >> ran.txt; cat ran.txt\n!cut clean\n!then\n!say over"


def test_a_call_of_a_broken_response_is_carried_out_once_and_the_retry_knows_of_it(server, workspace, model):
    client = server("-c", "model_providers.scripted.stream_max_retries=1")
    told = client.turn(client.start_thread(), COMMAND_THEN_CUT)
    assert told[-1]["params"]["turn"]["status"] == "completed"
    assert len(items(told, "commandExecution")) == 1
    assert (workspace / "ran.txt").read_text() == "once\n"
    [output] = outputs(model)
    assert output.endswith("once\n")
    assert [line["params"]["willRetry"] for line in told if line["method"] == "error"] == [True]


def test_an_incomplete_response_is_paid_for_and_stands_in_the_summary(server):
    client = server()
    thread = client.start_thread()
    told = client.turn(thread, "!say part\n!incomplete max_output_tokens")
    [usage] = [line["params"]["tokenUsage"] for line in told if line["method"] == "thread/tokenUsage/updated"]
    assert usage["total"]["totalTokens"] == 130
    assert methods(told)[-3:] == ["error", "thread/readState/changed", "turn/completed"]
    [turn] = client.request("thread/turns/list", {"threadId": thread})["data"]
    assert [item["type"] for item in turn["items"]] == ["userMessage", "agentMessage"]


def test_a_failed_response_tells_again_what_the_thread_has_cost(server):
    client = server()
    thread = client.start_thread()
    client.turn(thread, "!say a")
    told = client.turn(thread, "!fail invalid_prompt no")
    assert methods(told).count("thread/tokenUsage/updated") == 1
