"""Commands of `bulkhead`, one module each: `arguments(parser)` and `run(options)`.

Operator commands hold both ends: what the client prints and what the server answers on its control socket.
"""
