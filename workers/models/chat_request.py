"""The body of a Chat Completions request, out of a request in Responses form.

For the servers people run themselves (Ollama, vLLM, llama.cpp, LM Studio), whose prompt templates are stricter than
the API: one system message, at the front; user and assistant in turns; each call answered before anybody speaks again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from workers.models.request import InputItem, ModelRequest
from workers.models.responses import SCHEMA_NAME

__all__ = ["PATH", "ChatTools", "encode_request", "messages"]

PATH = "/chat/completions"

_UNANSWERED = "aborted"
_TEXT_PARTS = {"input_text", "output_text", "text", "summary_text"}


class ChatTools:
    """The tools of a request as functions, and the way back from a function's name to the call it stands for.

    A custom tool takes free text: it becomes a function with the one string parameter `input`. The tools of a
    namespace get its name in front. Tools that only the Responses API runs itself (web_search) are left out.
    """

    def __init__(self, tools: Iterable[Mapping[str, Any]]) -> None:
        self.functions: list[dict[str, Any]] = []
        self._custom: set[str] = set()
        self._namespaced: dict[str, tuple[str, str]] = {}
        for tool in tools:
            match tool.get("type"):
                case "function":
                    self._add(str(tool["name"]), tool)
                case "custom":
                    self._custom.add(str(tool["name"]))
                    self.functions.append(_custom_function(tool))
                case "namespace":
                    space = str(tool["name"])
                    for inner in tool.get("tools") or ():
                        name = function_name(space, inner["name"])
                        self._namespaced[name] = (space, inner["name"])
                        self._add(name, inner)
                case _:
                    pass

    def call(self, name: str, arguments: str) -> dict[str, Any]:
        """Give the call of function `name` as the rest of a Responses item, without its ids."""
        if name in self._custom:
            return {"type": "custom_tool_call", "name": name, "input": _free_text(arguments)}
        space = self._namespaced.get(name)
        if space is not None:
            return {"type": "function_call", "namespace": space[0], "name": space[1], "arguments": arguments}
        return {"type": "function_call", "name": name, "arguments": arguments}

    def _add(self, name: str, tool: Mapping[str, Any]) -> None:
        function: dict[str, Any] = {"name": name}
        for key in ("description", "parameters"):
            if tool.get(key) is not None:
                function[key] = tool[key]
        if tool.get("strict"):
            function["strict"] = True
        self.functions.append({"type": "function", "function": function})


def function_name(namespace: str | None, name: str) -> str:
    return f"{namespace}__{name}" if namespace else name


def encode_request(request: ModelRequest, tools: ChatTools) -> bytes:
    """Encode the JSON body of `POST {base_url}/chat/completions`; what is not set is left out."""
    body: dict[str, Any] = {
        "model": request.model,
        "messages": messages(request.instructions, request.input),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if tools.functions:
        body["tools"] = tools.functions
        body["tool_choice"] = "auto"
        body["parallel_tool_calls"] = request.parallel_tool_calls
    if request.reasoning is not None and request.reasoning.effort is not None:
        body["reasoning_effort"] = request.reasoning.effort
    if request.verbosity is not None:
        body["verbosity"] = request.verbosity
    if request.service_tier is not None:
        body["service_tier"] = request.service_tier
    if request.output_schema is not None:
        schema = {"name": SCHEMA_NAME, "strict": True, "schema": request.output_schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return msgspec.json.encode(body)


def messages(instructions: str, items: Iterable[InputItem]) -> list[dict[str, Any]]:
    """Chat messages out of Responses items. Reasoning and items of hosted tools are left out."""
    thread = _Thread(instructions)
    for raw in items:
        item = msgspec.json.decode(raw) if isinstance(raw, msgspec.Raw) else raw
        match item.get("type", "message"):
            case "message":
                thread.say(item.get("role", "user"), item.get("content") or [])
            case "function_call":
                name = function_name(item.get("namespace"), item["name"])
                thread.call(item["call_id"], name, item.get("arguments") or "{}")
            case "custom_tool_call":
                arguments = msgspec.json.encode({"input": item.get("input", "")}).decode()
                thread.call(item["call_id"], item["name"], arguments)
            case "function_call_output" | "custom_tool_call_output":
                thread.answer(item["call_id"], item.get("output", ""))
            case _:
                pass
    return thread.end()


class _Thread:
    """Messages so far, and the calls of the last one that wait for their outputs."""

    def __init__(self, instructions: str) -> None:
        self._system = [instructions] if instructions else []
        self._done: list[dict[str, Any]] = []
        self._waiting: list[str] = []
        # Pictures that a tool gave: a tool message holds text alone, so they follow as the user's.
        self._pictures: list[dict[str, Any]] = []

    def say(self, role: str, content: str | list[Any]) -> None:
        parts = _parts(content)
        if role == "assistant":
            self._settle()
            self._assistant(_plain(parts))
        elif role in {"developer", "system"} and not self._done:
            self._system.append(_plain(parts))
        else:
            self._settle()
            self._user(parts)

    def call(self, call_id: str, name: str, arguments: str) -> None:
        entry = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        last = self._last("assistant")
        # A call after the outputs of earlier ones begins a message of its own.
        if last is None:
            self._settle()
            last = {"role": "assistant", "content": None}
            self._done.append(last)
        last.setdefault("tool_calls", []).append(entry)
        self._waiting.append(call_id)

    def answer(self, call_id: str, output: str | list[Any]) -> None:
        parts = _parts(output)
        pictures = [part for part in parts if part["type"] != "text"]
        if call_id not in self._waiting:
            # The call was compacted away: templates refuse an answer without a question.
            self._settle()
            self._user([{"type": "text", "text": f"Output of an earlier call ({call_id}):"}, *parts])
            return
        self._waiting.remove(call_id)
        self._done.append({"role": "tool", "tool_call_id": call_id, "content": _plain(parts)})
        self._pictures += pictures

    def end(self) -> list[dict[str, Any]]:
        self._settle()
        for message in self._done:
            content = message["content"]
            if message["role"] == "user" and all(part["type"] == "text" for part in content):
                message["content"] = "\n\n".join(part["text"] for part in content)
        system = [{"role": "system", "content": "\n\n".join(self._system)}] if self._system else []
        return [*system, *self._done]

    def _assistant(self, text: str) -> None:
        last = self._last("assistant")
        if last is not None and "tool_calls" not in last:
            last["content"] = f"{last['content']}\n\n{text}"
        else:
            self._done.append({"role": "assistant", "content": text})

    def _user(self, parts: list[dict[str, Any]]) -> None:
        last = self._last("user")
        if last is not None:
            last["content"] += parts
        else:
            self._done.append({"role": "user", "content": list(parts)})

    def _settle(self) -> None:
        """Answers what was left open, as after an interrupt."""
        for call_id in self._waiting:
            self._done.append({"role": "tool", "tool_call_id": call_id, "content": _UNANSWERED})
        self._waiting.clear()
        if self._pictures:
            self._user(self._pictures)
            self._pictures = []

    def _last(self, role: str) -> dict[str, Any] | None:
        if self._done and self._done[-1]["role"] == role:
            return self._done[-1]
        return None


def _parts(content: str | list[Any]) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    parts: list[dict[str, Any]] = []
    for part in content:
        kind = part.get("type")
        if kind in _TEXT_PARTS:
            parts.append({"type": "text", "text": part.get("text", "")})
        elif kind == "refusal":
            parts.append({"type": "text", "text": part.get("refusal", "")})
        elif kind == "input_image" and part.get("image_url"):
            picture = {"url": part["image_url"]}
            if part.get("detail") in {"low", "high", "auto"}:
                picture["detail"] = part["detail"]
            parts.append({"type": "image_url", "image_url": picture})
    return parts


def _plain(parts: list[dict[str, Any]]) -> str:
    return "\n".join(part["text"] for part in parts if part["type"] == "text")


def _custom_function(tool: Mapping[str, Any]) -> dict[str, Any]:
    description = str(tool.get("description") or "")
    form = tool.get("format") or {}
    if form.get("definition"):
        # The grammar can not be enforced here, but the model can be shown it.
        description += (
            f"\n\nThe input has to follow this {form.get('syntax', '')} grammar:\n{form['definition']}"
        )
    parameters = {
        "type": "object",
        "properties": {
            "input": {"type": "string", "description": "The whole input of the tool, as plain text."}
        },
        "required": ["input"],
        "additionalProperties": False,
    }
    function = {"name": tool["name"], "description": description.strip(), "parameters": parameters}
    return {"type": "function", "function": function}


def _free_text(arguments: str) -> str:
    """Get the `input` of a custom tool. A model that leaves out the JSON around it is taken at its word."""
    try:
        value = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        return arguments
    if isinstance(value, dict) and isinstance(value.get("input"), str):
        text: str = value["input"]
        return text
    return value if isinstance(value, str) else arguments
