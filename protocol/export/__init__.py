"""The protocol for readers of other languages: JSON Schema and TypeScript, made from the tables of methods."""
