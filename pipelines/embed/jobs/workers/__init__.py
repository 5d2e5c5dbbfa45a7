"""Worker processes of a local job: how they are started, and how Beam uses them."""
