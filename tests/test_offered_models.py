"""`model/list` of a provider that says which models it has, and of one that does not."""

from __future__ import annotations

import http.server
import json
import threading

import pytest
from protocol_client import RpcError


@pytest.fixture
def provider(home):
    """A provider of models: what it answers, and the requests it got. The home's only one."""

    class Provider(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        asked: list[tuple[str, str | None]] = []
        status = 200
        answer = b""
        go = threading.Event()

        def do_GET(self):
            self.asked.append((self.path, self.headers["authorization"]))
            self.go.wait()
            self.send_response(self.status)
            self.send_header("content-length", str(len(self.answer)))
            self.end_headers()
            self.wfile.write(self.answer)

        def log_message(self, *_):
            pass

    Provider.asked, Provider.go = [], threading.Event()
    Provider.go.set()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/v1"
        (home / "config.toml").write_text(
            'model = "house-model"\nmodel_provider = "house"\n[model_providers.house]\nname = "House"\n'
            f'base_url = "{url}"\nexperimental_bearer_token = "house-token"\nquery_params = {{ v = "1" }}\n'
        )
        yield Provider
        Provider.go.set()
        server.shutdown()
        thread.join()


def offer(*names, key="id"):
    return json.dumps({"data" if key == "id" else "models": [{key: name} for name in names]}).encode()


def ids(answer):
    return [model["id"] for model in answer["data"]]


def test_the_list_is_what_the_provider_offers_asked_once(server, provider):
    provider.answer = offer("house-model", "gpt-5.5", "other")
    client = server()
    answer = client.request("model/list", {})
    assert ids(answer) == ["gpt-5.5", "house-model", "other"]
    known, house, _ = answer["data"]
    assert known["displayName"] == "GPT-5.5"
    assert (house["displayName"], house["defaultReasoningEffort"], house["hidden"]) == (
        "house-model",
        "medium",
        False,
    )
    assert [model["id"] for model in answer["data"] if model["isDefault"]] == ["house-model"]
    assert ids(client.request("model/list", {"limit": 1, "cursor": "1"})) == ["house-model"]
    assert provider.asked == [("/v1/models?v=1", "Bearer house-token")]


def test_requests_at_once_ask_the_provider_once(server, provider):
    provider.answer = offer("slow", key="slug")
    provider.go.clear()
    client = server()
    requests = [client.start_request("model/list", {}) for _ in range(5)]
    # Answers of the front go on meanwhile.
    client.request("thread/loaded/list", {})
    provider.go.set()
    assert [ids(client.result(request)) for request in requests] == [["slow"]] * 5
    assert len(provider.asked) == 1


@pytest.mark.parametrize(
    ("status", "answer"),
    [(404, b"{}"), (200, b"no JSON"), (200, b'{"data": []}'), (200, b'{"data": [{"id": 5}]}')],
)
def test_a_provider_that_does_not_say_has_the_catalogue(server, provider, status, answer):
    provider.status, provider.answer = status, answer
    listed = ids(server().request("model/list", {"includeHidden": True}))
    assert len(listed) == 12
    assert "gpt-6.1-sol" in listed


def test_the_list_can_be_that_of_another_provider(server, provider):
    provider.answer = offer("house-model")
    client = server()
    assert "gpt-6.1-sol" in ids(client.request("model/list", {"modelProvider": "openai"}))
    assert provider.asked == []
    with pytest.raises(RpcError) as caught:
        client.request("model/list", {"modelProvider": "none"})
    assert caught.value.code == -32600
    assert caught.value.data == {"type": "modelProviderNotConfigured", "modelProvider": "none"}
