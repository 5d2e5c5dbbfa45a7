"""The senses of a word: induced from its occurrences, labelled, drawn."""
