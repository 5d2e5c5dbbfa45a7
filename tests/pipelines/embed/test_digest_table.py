"""The flat table of digests, against a dict."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.embed.digest_table import DigestTable, digest

keys = st.binary(min_size=16, max_size=16) | st.integers(0, 20).map(
    lambda n: n.to_bytes(1, "little") * 8 + bytes(8)  # these meet in the same slots
)


@given(st.lists(st.tuples(keys, st.integers(0, 2**40))), st.lists(keys))
def test_table_answers_as_a_dict_does(pairs: list[tuple[bytes, int]], asked: list[bytes]) -> None:
    table, witness = DigestTable(), {}
    for key, value in pairs:
        table.put(key, value)
        witness[key] = value
    assert len(table) == len(witness)
    for key in [*asked, *witness]:
        assert table.get(key) == witness.get(key)


@pytest.mark.parametrize("other", [("a", "bc"), ("abc",), ("ab", "c", ""), ("c", "ab")])
def test_digest_tells_parts_apart(other: tuple[str, ...]) -> None:
    assert digest("ab", "c") != digest(*other)
    assert digest("ab", "c") == digest("ab", "c")
    assert len(digest("\ud800")) == 16
