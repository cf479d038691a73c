"""Rules that a user writes: `rules/*.rules` in the home, the execpolicy form of Codex, so that one file serves both.

    prefix_rule(pattern = ["git", ["push", "fetch"]], decision = "prompt", justification = "ask first",
                match = ["git push origin"], not_match = ["git status"])

Of Starlark only what such files are made of is read: calls and names, with strings and lists. `host_executable` and
`network_rule` are taken and have no effect here. A file with a mistake contributes nothing, and the mistake is told.
"""

from __future__ import annotations

import ast
import fcntl
import json
import os
import shlex
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

from sandbox_backends.decision import Rule

__all__ = ["RuleBook", "RuleError", "load_rules", "parse_rules", "remember"]

FOLDER = "rules"
SUFFIX = ".rules"
AMENDED_FILE = "default.rules"
"""Where accepted amendments are appended, by the peer as well."""
MAX_FILE_BYTES = 1 << 20
MAX_PREFIXES = 4096
"""Prefixes that one pattern's alternatives may multiply to."""

DECISIONS = ("allow", "prompt", "forbidden")
_PARAMETERS = ("pattern", "decision", "match", "not_match", "justification")
_INERT = frozenset(("host_executable", "network_rule"))


class RuleError(Exception):
    """A mistake in a rules file. `line` counts from 1; None where it is about the file."""

    def __init__(self, file: str, line: int | None, reason: str) -> None:
        super().__init__(f"{file}{f':{line}' if line else ''}: {reason}")
        self.file = file
        self.line = line
        self.reason = reason


class _Wrong(Exception):
    """A mistake at a node, before the file's name is known."""

    def __init__(self, node: ast.AST, reason: str) -> None:
        super().__init__(reason)
        self.line: int | None = getattr(node, "lineno", None)


def parse_rules(text: str, file: str) -> tuple[Rule, ...]:
    """The rules of one file's text. Raises RuleError."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = getattr(error, "msg", None) or str(error) or "nested too deeply"
        raise RuleError(file, getattr(error, "lineno", None), reason) from None
    names: dict[str, Any] = {}
    rules: list[Rule] = []
    try:
        for statement in tree.body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    names[name] = _value(value, names)
                case ast.Expr(value=ast.Call(func=ast.Name(id="prefix_rule")) as call):
                    rules += _prefix_rules(call, names, f"{os.path.basename(file)}:{call.lineno}")
                case ast.Expr(value=ast.Call(func=ast.Name(id=name))) if name in _INERT:
                    continue
                case ast.Expr(value=ast.Constant(value=str())):
                    continue
                case _:
                    raise _Wrong(statement, "only prefix_rule(...) and NAME = value are understood here")
    except _Wrong as wrong:
        raise RuleError(file, wrong.line, str(wrong)) from None
    except RecursionError:
        raise RuleError(file, None, "nested too deeply") from None
    return tuple(rules)


def _value(node: ast.expr, names: dict[str, Any]) -> Any:
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return [_value(element, names) for element in elements]
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.Name(id=name):
            raise _Wrong(node, f"variable `{name}` not found")
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            one, other = _value(left, names), _value(right, names)
            if type(one) is type(other):
                return one + other
            raise _Wrong(node, "only two strings or two lists can be added")
    raise _Wrong(node, "expected a string or a list")


def _prefix_rules(call: ast.Call, names: dict[str, Any], source: str) -> list[Rule]:
    given: dict[str, Any] = dict(zip(_PARAMETERS, (_value(node, names) for node in call.args), strict=False))
    if len(call.args) > len(_PARAMETERS):
        raise _Wrong(call, "prefix_rule takes five arguments")
    for keyword in call.keywords:
        if keyword.arg not in _PARAMETERS:
            raise _Wrong(call, f"prefix_rule has no parameter `{keyword.arg or '**'}`")
        given[keyword.arg] = _value(keyword.value, names)
    decision = given.get("decision", "allow")
    if decision not in DECISIONS:
        raise _Wrong(call, f"invalid decision: {decision} (one of {', '.join(DECISIONS)})")
    justification = given.get("justification")
    if justification is not None and (not isinstance(justification, str) or not justification.strip()):
        raise _Wrong(call, "justification must be a string that is not empty")
    prefixes = _prefixes(call, given.get("pattern"))
    rules = [Rule(prefix, decision, justification, source) for prefix in prefixes]
    for wanted, examples in ((True, given.get("match", [])), (False, given.get("not_match", []))):
        for words in _examples(call, examples):
            if any(rule.matches(words) for rule in rules) is not wanted:
                verb = "match" if wanted else "not match"
                raise _Wrong(call, f"expected example to {verb} the rule: {shlex.join(words)}")
    return rules


def _prefixes(call: ast.Call, pattern: Any) -> list[tuple[str, ...]]:
    if not isinstance(pattern, list):
        raise _Wrong(call, "`pattern` must be a list")
    if not pattern:
        raise _Wrong(call, "pattern cannot be empty")
    count = 1
    choices: list[list[str]] = []
    for element in pattern:
        words = [element] if isinstance(element, str) else element
        if not words:
            raise _Wrong(call, "pattern alternatives cannot be empty")
        if not all(isinstance(word, str) for word in words):
            raise _Wrong(call, "pattern alternatives must be strings")
        choices.append(words)
        count *= len(words)
        if count > MAX_PREFIXES:
            raise _Wrong(call, f"the alternatives make more than {MAX_PREFIXES} prefixes")
    return list(product(*choices))


def _examples(call: ast.Call, examples: Any) -> Iterator[Sequence[str]]:
    if not isinstance(examples, list):
        raise _Wrong(call, "examples must be a list")
    for example in examples:
        try:
            words = shlex.split(example) if isinstance(example, str) else example
        except ValueError as error:
            raise _Wrong(call, f"example cannot be split: {error}") from None
        if not words or not all(isinstance(word, str) for word in words):
            raise _Wrong(call, "an example is a command, as a string or a list of words")
        yield words


def _files(home: str) -> list[str]:
    folder = os.path.join(home, FOLDER)
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [os.path.join(folder, name) for name in names if name.endswith(SUFFIX)]


def load_rules(home: str) -> tuple[tuple[Rule, ...], tuple[RuleError, ...]]:
    """(rules, mistakes) of all files in the home, by file name."""
    rules: list[Rule] = []
    mistakes: list[RuleError] = []
    for path in _files(home):
        try:
            # A FIFO under such a name must not hang us.
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(fd, "rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
            if len(data) > MAX_FILE_BYTES:
                raise RuleError(path, None, f"larger than {MAX_FILE_BYTES} bytes")
            rules += parse_rules(data.decode(), path)
        except RuleError as error:
            mistakes.append(error)
        except UnicodeDecodeError:
            mistakes.append(RuleError(path, None, "not UTF-8"))
        except OSError as error:
            mistakes.append(RuleError(path, None, error.strerror or str(error)))
    return tuple(rules), tuple(mistakes)


def remember(home: str, prefix: Sequence[str]) -> None:
    """Append an `allow` rule for `prefix` to the home's default.rules, unless it is there. Raises OSError."""
    folder = os.path.join(home, FOLDER)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    line = f'prefix_rule(pattern={json.dumps(list(prefix), ensure_ascii=False)}, decision="allow")'
    fd = os.open(
        os.path.join(folder, AMENDED_FILE), os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
    )
    with open(fd, "r+b") as file:
        # Other threads and the peer append here too.
        fcntl.flock(file, fcntl.LOCK_EX)
        text = file.read()
        if line.encode() in text.splitlines():
            return
        file.write((b"" if not text or text.endswith(b"\n") else b"\n") + line.encode() + b"\n")


class RuleBook:
    """The rules of one home as they are now: read again when a file changed."""

    def __init__(self, home: str) -> None:
        self._home = home
        self._seen: tuple[tuple[str, int, int, int], ...] | None = None
        self._rules: tuple[Rule, ...] = ()
        self._untold: list[RuleError] = []

    def rules(self) -> tuple[Rule, ...]:
        """All rules; costs a few stat calls if nothing changed."""
        now = tuple(self._stamps())
        if now != self._seen:
            self._seen = now
            self._rules, mistakes = load_rules(self._home)
            self._untold = list(mistakes)
        return self._rules

    def untold(self) -> list[RuleError]:
        """The mistakes found since this was last asked."""
        mistakes, self._untold = self._untold, []
        return mistakes

    def _stamps(self) -> Iterator[tuple[str, int, int, int]]:
        for path in _files(self._home):
            try:
                status = os.stat(path)
            except OSError:
                continue
            yield path, status.st_ino, status.st_mtime_ns, status.st_size
