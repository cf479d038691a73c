"""Wire types, the method table, framing, and the wire between front and workers. Imports nothing of ours."""
