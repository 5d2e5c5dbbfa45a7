"""vector_ids, schemas and their checks."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import (
    DOCUMENTS,
    TABLES,
    SentenceKey,
    check_schema,
    check_table,
    first_vector_id,
    table_of,
    table_schema,
    tokens_schema,
    vector_type,
)
from schemas.tables import MAX_PART_ROWS, MAX_PARTS, MAX_SEGMENT_NUMBER


def test_vector_id_is_segment_then_table_then_part_then_row() -> None:
    assert first_vector_id(1, "sentences", 0) == 2**40
    assert first_vector_id(1, "tokens", 0) == 2**40 + 2**39
    assert first_vector_id(3, "tokens", 5) == 3 * 2**40 + 2**39 + 5 * 2**25
    assert table_of(first_vector_id(3, "tokens", 5) + 7) == "tokens"
    assert table_of(first_vector_id(3, "sentences", 5) + 7) == "sentences"


places = st.tuples(
    st.integers(1, MAX_SEGMENT_NUMBER),
    st.sampled_from(["sentences", "tokens"]),
    st.integers(0, MAX_PARTS - 1),
)


@given(places, places)
def test_id_ranges_of_different_places_do_not_meet(
    one: tuple[int, str, int], two: tuple[int, str, int]
) -> None:
    first, second = sorted((first_vector_id(*one), first_vector_id(*two)))
    assert first > 0
    assert second < 2**63
    if one != two:
        assert first + MAX_PART_ROWS <= second


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ((0, "tokens", 0), "segment number 0 is not in 1.."),
        ((1, "rejects", 0), "table 'rejects' holds no vectors"),
        ((1, "tokens", MAX_PARTS), "write smaller segments"),
    ],
)
def test_impossible_places_are_refused(place: tuple[int, str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        first_vector_id(*place)


def test_sentence_keys_are_ordered_by_document_then_place() -> None:
    keys = [SentenceKey("b", 0), SentenceKey("a", 10), SentenceKey("a", 9)]
    assert sorted(keys) == [("a", 9), ("a", 10), ("b", 0)]
    assert len({SentenceKey("a", 1), SentenceKey("a", 1)}) == 1


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("table", TABLES)
def test_schemas_survive_parquet(table: str, dtype: str) -> None:
    schema = table_schema(table, dtype=dtype, dim=4)
    buffer = io.BytesIO()
    pq.write_table(schema.empty_table(), buffer)
    check_schema(pq.read_schema(io.BytesIO(buffer.getvalue())), schema, "file")


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="no table 'words'; expected one of documents"):
        table_schema("words", dtype="float16", dim=4)
    with pytest.raises(ValueError, match="'int8' is unknown, expected float16 or float32"):
        vector_type("int8", 4)
    with pytest.raises(ValueError, match="width is 0, expected at least 1"):
        vector_type("float16", 0)


def test_check_names_column_and_types() -> None:
    expected = tokens_schema("float16", 4)
    with pytest.raises(ValueError, match=r"part-1 has no column 'vector_id'.*it has token"):
        check_schema(pa.schema([("token", pa.string())]), expected, "part-1")
    other = tokens_schema("float16", 8)
    with pytest.raises(ValueError, match=r"column 'vector' of part-1 has type .*\[8\], expected"):
        check_schema(other, expected, "part-1")


def test_check_finds_nulls_where_none_may_be() -> None:
    rows = {name: [None] for name in DOCUMENTS.names}
    types = pa.schema([pa.field(field.name, field.type) for field in DOCUMENTS])
    with pytest.raises(ValueError, match="column 'doc_id' of rows has 1 nulls, expected none"):
        check_table(pa.table(rows, schema=types), DOCUMENTS, "rows")
