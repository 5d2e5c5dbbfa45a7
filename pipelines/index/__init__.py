"""The index: planned under a memory limit, fitted, added to in parts, measured, read back."""
