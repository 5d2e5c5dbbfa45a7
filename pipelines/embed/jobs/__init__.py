"""The drivers of the transforms: on this machine, on an engine, as a stream."""
