"""Input files -> documents, or rejects with their reason and place."""
