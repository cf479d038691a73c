"""What a client does on the machine without a thread: commands, files, watches, searches."""
