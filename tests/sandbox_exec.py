#!/usr/bin/env python3
"""A stand-in for macOS' sandbox-exec: records how it was called, holds the call to its form, executes the command.

It confines nothing. `decide` reads the rules that our profiles are made of, and nothing else.
"""

from __future__ import annotations

import json
import os
import re
import sys


def parse(text):
    tokens = iter(re.findall(r'#"[^"]*"|"[^"]*"|\(|\)|[^\s()]+', text))

    def expression(token):
        if token != "(":
            return token
        out = []
        for inner in tokens:
            if inner == ")":
                return out
            out.append(expression(inner))
        raise ValueError("unbalanced")

    return [expression(token) for token in tokens]


def _holds(condition, path, params, kind):
    name, *arguments = condition

    def text(argument):
        return params[argument[1].strip('"')] if isinstance(argument, list) else argument.strip('"')

    match name:
        case "subpath":
            top = text(arguments[0])
            return path == top or path.startswith(top.rstrip("/") + "/")
        case "literal" | "path":
            return path == text(arguments[0])
        case "regex":
            return re.search(arguments[0][2:-1], path) is not None
        case "require-all":
            return all(_holds(part, path, params, kind) for part in arguments)
        case "require-not":
            return not _holds(arguments[0], path, params, kind)
        case "vnode-type":
            return kind == arguments[0]
        case "target" | "global-name":
            return False
    raise ValueError(f"not among the rules we use: {name}")


def decide(text, params, operation, path="", kind="REGULAR-FILE"):
    """Whether the profile allows it: the last rule that matches decides."""
    verdict = None
    for rule in parse(text):
        if rule[0] == "version":
            continue
        action, *rest = rule
        if action not in ("allow", "deny"):
            raise ValueError(action)
        names = [part for part in rest if isinstance(part, str)]
        conditions = [part for part in rest if isinstance(part, list)]
        if names != ["default"] and not any(
            name == operation or (name.endswith("*") and operation.startswith(name[:-1])) for name in names
        ):
            continue
        if not conditions or any(_holds(part, path, params, kind) for part in conditions):
            verdict = action == "allow"
    return verdict


def main():
    words = sys.argv[1:]
    params, text = {}, None
    while words and words[0] != "--":
        word = words.pop(0)
        if word == "-p":
            text = words.pop(0)
        elif word.startswith("-D"):
            name, _, value = word[2:].partition("=")
            params[name] = value
        else:
            sys.exit(f"sandbox-exec: unexpected argument {word}")
    if text is None or len(words) < 2:
        sys.exit(64)
    parse(text)
    if set(re.findall(r'\(param "([^"]+)"\)', text)) != set(params):
        sys.stderr.write("sandbox-exec: parameters do not fit the profile\n")
        sys.exit(65)
    record = os.path.join(os.path.dirname(os.path.abspath(__file__)), "calls.jsonl")
    with open(record, "a", encoding="utf-8") as file:
        file.write(json.dumps({"profile": text, "params": params, "argv": words[1:]}) + "\n")
    try:
        os.execvp(words[1], words[1:])
    except OSError as error:
        sys.stderr.write(f"sandbox-exec: execvp() of '{words[1]}' failed: {error.strerror}\n")
        sys.exit(71)


if __name__ == "__main__":
    main()
