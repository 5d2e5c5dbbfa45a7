"""The model files that are read: official layout, ELMoForManyLangs, word2vec, archives."""
