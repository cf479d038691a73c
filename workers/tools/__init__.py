"""What a model may call. A tool is a name, a definition for the model, and a coroutine (see `workers.tools.tool`)."""
