"""Scores of an encoder on sense and similarity sets."""
