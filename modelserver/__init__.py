"""A scripted model: an HTTP server on loopback that plays the script in the user's text.

It speaks the Responses API and the Chat Completions API, streamed or not, and drives demos, tests and stress
runs without a real model. It understands nothing and never pretends to.

A line of the newest user message that begins with `!` and a lower-case word is a directive; all other lines
are prose and count for nothing.

    Talk
    !say TEXT                     an assistant message, streamed word by word
    !comment TEXT, !final TEXT    the same, marked with phase `commentary` or `final_answer`
    !think TEXT                   a part of the reasoning summary; lines that stand together share an item
    !think-raw TEXT               a part of the raw reasoning
    !stream N [SECONDS]           a message of N numbered words, w0001 w0002 ..., SECONDS apart

    Call tools, in the spelling of the tools that the request offers
    !run CMD                      the shell: exec_command, shell_command or shell
    !run-escalated CMD            the same, asking to run outside the sandbox
    !start CMD                    exec_command with a terminal, left running for !stdin
    !patch                        the lines that follow, up to `*** End Patch`, go to apply_patch
    !plan [x] done; [>] doing; [ ] to do      update_plan
    !view PATH                    view_image
    !stdin SESSION [TEXT]         write_stdin, with a line feed; SESSION may be `last`; a TEXT in double
                                  quotes is a JSON string and goes out exactly; without TEXT it polls
    !tool NAME [ARGUMENTS]        any tool, arguments as they are written (valid JSON or not; default {})
    !search WORDS                 a search for tools; what the client finds can be called in the next step

    Time and accidents
    !sleep SECONDS                silence inside the stream
    !hang                         the beginning of a message, then silence until the client goes
    !cut [clean]                  the beginning of a message, then the connection breaks; clean: the body ends
                                  in order, but without the last event
    !cut-once [clean]             the same at the first attempt; a retry plays on
    !status CODE [NAME=VALUE ...] [JSON]      an HTTP error 400 to 599 in place of the whole step
    !status-once CODE ...         the same at the first attempt
    !fail CODE MESSAGE            response.failed
    !incomplete REASON            response.incomplete

    About the response
    !usage IN OUT [CACHED [REASONING]]        its token counts
    !headers NAME=VALUE ...       headers of its HTTP answer

    Steps
    !then                         ends a step. A step is one model response; the next one is played when the
                                  tool outputs of this one came back
    !repeat N                     plays its step N times in a row

`!say`, `!comment`, `!final`, `!think`, `!think-raw`, `!run`, `!run-escalated` and `!start` take many lines as
`!say <<END`, the lines, `END` (any word of capitals); `!stdin SESSION <<END` and `!tool NAME <<END` do too.

A text without directives is answered with a line that says what this is. A script that cannot be read, or
that needs a tool which the request does not offer, is answered with a message that says why.
"""
