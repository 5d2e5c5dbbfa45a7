"""Documents -> committed segments: batches, inference, part files, the Beam transforms."""
