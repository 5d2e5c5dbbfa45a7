"""Looking after a corpus: verify, delete, compact, vacuum; one module a command."""
