"""FAISS factory strings, taken apart."""

import faiss
import pytest

from pipelines.errors import UsageError
from pipelines.index.factory import parse_factory


@pytest.mark.parametrize(
    ("text", "code_bytes", "nlist", "links", "exact", "rerank"),
    [
        ("Flat", 256, None, None, True, False),
        ("SQfp16", 128, None, None, True, False),
        ("HNSW32", 256, None, 32, False, False),
        ("HNSW16,SQfp16", 128, None, 16, False, False),
        ("IVF1024,SQfp16", 128, 1024, None, False, False),
        ("IVF256_HNSW32,SQ8", 64, 256, None, False, True),
        ("IVF1024,PQ16", 16, 1024, None, False, True),
        ("OPQ16_32,IVF1024,PQ16x4", 8, 1024, None, False, True),
    ],
)
def test_factory_strings_are_taken_apart(
    text: str, code_bytes: int, nlist: int, links: int, exact: bool, rerank: bool
) -> None:
    parsed = parse_factory(text, 64)
    found = (parsed.code_bytes, parsed.nlist, parsed.links, parsed.exact, parsed.rerank)
    assert found == (code_bytes, nlist, links, exact, rerank)
    index = faiss.index_factory(64, text, faiss.METRIC_INNER_PRODUCT)
    assert index.d == 64  # FAISS reads every string that we do


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not an index that can be built here"),
        ("LSH", "not an index that can be built here"),
        ("IVF16,", "not an index that can be built here"),
        ("PQ16", "need lists or a graph before them, such as IVF1024,PQ"),
        ("IVF16,PQ7", "PQ7 must divide the width 64"),
        ("OPQ16_128,IVF16,PQ16", "exceeds the vectors' width 64"),
    ],
)
def test_impossible_factory_strings_are_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_factory(text, 64)
    assert words in str(caught.value)
