"""The front: connections, the thread registry, supervision, operator commands and the command line."""
