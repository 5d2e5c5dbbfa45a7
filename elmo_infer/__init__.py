"""ELMo inference: tokens in, arrays out."""
