"""A corpus on disk: its store, manifests, the read view, commits, the Parquet writer."""
