"""The HTTP API and the search page: one process, one loaded model, one memory-mapped corpus."""
