"""What `bulkhead` ends with."""

OK = 0
#: The command was understood but could not be carried out; the reason is on stderr.
FAILED = 1
#: The command line is wrong (argparse's own code).
USAGE = 2
#: The configuration is wrong; file, line and key are on stderr.
CONFIG = 78
#: No server, or no thread, fits what was named.
NOT_FOUND = 3
#: More than one server or thread fits what was named.
AMBIGUOUS = 4
#: `sandbox`: the command's time was up.
TIMED_OUT = 124
#: `sandbox`: nothing was started; the reason is on stderr.
NOT_STARTED = 125
#: `sandbox`: the program cannot be executed.
NOT_EXECUTABLE = 126
#: `sandbox`: there is no such program.
NO_PROGRAM = 127
#: `sandbox`: plus n, the command was ended by signal n.
SIGNALLED = 128
