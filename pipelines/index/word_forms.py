"""Turn columns of tokens into columns of forms, which an index counts and sorts by."""

import pyarrow as pa

from pipelines.corpus.view import CorpusView
from pipelines.text.normal_forms import normal_form


def rules_of(corpus: CorpusView) -> int:
    """Return the version of the token rules that a corpus was made with."""
    for segment in corpus.segments:
        return int(segment.options.get("tokenizer", {}).get("rules", 1))
    return 1


def forms_of(tokens: pa.Array, rules: int) -> pa.Array:
    """Return a column of tokens as their forms.

    Args:
      tokens: strings.
      rules: version of the corpus's token rules; in version 1 a token is its own form.
    """
    if rules < 2:
        return tokens
    encoded = tokens.dictionary_encode()
    words = encoded.dictionary.to_pylist()
    forms = [normal_form(word) for word in words]
    if forms == words:
        return tokens
    return pa.array(forms, pa.string()).take(encoded.indices)
