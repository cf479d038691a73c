"""`bulkhead completion bash|zsh|fish`: a script for the shell, made from the commands' own arguments.

    source <(bulkhead completion bash)

Where a command takes a thread, the ids of loaded threads are completed.
"""

from __future__ import annotations

import argparse

from supervisor import exit_codes

_BASH = """\
_bulkhead() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" command="${{COMP_WORDS[1]}}" words
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{commands}"
    else
        case "$command" in
{cases}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _bulkhead bulkhead
"""
_THREADS = '$(bulkhead ps --json 2>/dev/null | sed -n \'s/^ *"thread": "\\([^"]*\\)".*/\\1/p\')'


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=["bash", "zsh", "fish"])


def run(options: argparse.Namespace) -> int:
    from supervisor.cli import COMMANDS, options_of  # noqa: PLC0415  (the command line imports its commands)

    found = {command: options_of(command) for command in COMMANDS}
    if options.shell == "fish":
        print(_fish(found, COMMANDS), end="")
        return exit_codes.OK
    cases = [
        f'            {command}) words="{" ".join(flags)}{" " + _THREADS if thread else ""}" ;;'
        for command, (flags, thread) in found.items()
    ]
    script = _BASH.format(commands=" ".join(COMMANDS), cases="\n".join(cases))
    if options.shell == "zsh":
        script = "autoload -U +X bashcompinit && bashcompinit\n" + script
    print(script, end="")
    return exit_codes.OK


def _fish(found: dict[str, tuple[list[str], bool]], summaries: dict[str, str]) -> str:
    lines = []
    for command, (flags, thread) in found.items():
        summary = summaries[command].replace("'", "\\'")
        lines.append(f"complete -c bulkhead -n __fish_use_subcommand -f -a {command} -d '{summary}'")
        seen = f"-n '__fish_seen_subcommand_from {command}'"
        lines += [f"complete -c bulkhead {seen} -l {flag[2:]}" for flag in flags if flag.startswith("--")]
        lines += [f"complete -c bulkhead {seen} -f -a {word}" for word in flags if not word.startswith("-")]
        if thread:
            lines.append(f'complete -c bulkhead {seen} -f -a "({_THREADS[2:-1]})"')
    return "\n".join(lines) + "\n"
