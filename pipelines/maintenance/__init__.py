"""Maintenance of a corpus: verify, delete, compact, vacuum; one module per command."""
