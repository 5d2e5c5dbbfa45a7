"""Text without any corpus: sentences, tokens, segmenters, forms of words."""
