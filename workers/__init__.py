"""The worker: one thread's life in a process of its own, and the zygote it is forked from."""
