"""Configuration: `config.toml`, its overrides, and what they make of one thread."""
