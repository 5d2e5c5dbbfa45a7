"""Who drives the transforms: the job on this machine, and what Beam is told."""
