"""Which forms count as a word and where they stand, against going through the tables."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.api import Corpus
from pipelines.corpus.commits import Change, commit
from pipelines.index.form_table import FormRange
from pipelines.index.reader import OpenIndex
from pipelines.search.occurrences import (
    WordForms,
    choose_forms,
    count_positions,
    describe_absence,
    join_forms,
    nearest_indexed,
    positions_of,
    scan_unindexed,
)
from pipelines.search.searcher import Searcher


@pytest.fixture
def index(searcher: Searcher) -> OpenIndex:
    """An index over two segments of random sentences."""
    return searcher.index


def token_rows(corpus: Corpus) -> list[dict[str, Any]]:
    return [row for batch in corpus.read("tokens") for row in batch.to_pylist()]


def found_ids(index: OpenIndex, forms: WordForms, filters: dict[str, str]) -> list[int]:
    found = []
    for shard in index.shards.values():
        places = positions_of(shard, forms.ranges, filters)
        ids = shard.keys["vector_id"][places].tolist()
        assert count_positions(places) == len(ids)
        found += ids
    return found


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    word=st.sampled_from(["bank", "Bank", "banks", "river", "BANK", "of", "."]),
    scope=st.sampled_from(["form", "fold_case", "inflected", "starts_sentence"]),
    parity=st.sampled_from([None, "0", "1"]),
)
def test_positions_are_those_of_the_tables(
    index: OpenIndex, word: str, scope: str, parity: str | None
) -> None:
    flags = {} if scope == "form" else {scope: True}
    forms = choose_forms(index, word, **flags)
    counted = {
        "form": {word},
        "fold_case": {word, word.lower(), word.upper(), word.capitalize()},
        # Of these words only bank has an inflection in the corpus.
        "inflected": {"bank", "Bank", "banks"} if "bank" in word.lower() else {word},
        "starts_sentence": {word, word[0].lower() + word[1:]} if word == "Bank" else {word},
    }[scope]
    if scope == "inflected" and word == "banks":
        counted = {"bank", "Bank", "banks"}
    parities = {
        row["doc_id"]: dict(row["metadata"])["parity"]
        for batch in index.corpus.read("documents")
        for row in batch.to_pylist()
    }
    expected = [
        row["vector_id"]
        for row in token_rows(index.corpus)
        if row["token"] in counted and parity in (None, parities[row["doc_id"]])
    ]
    filters = {} if parity is None else {"parity": parity}
    assert sorted(found_ids(index, forms, filters)) == sorted(expected)
    tokens = pa.array([row["token"] for row in token_rows(index.corpus)])
    assert sum(forms.select(tokens).to_pylist()) == forms.indexed == sum(forms.counts.values())


def test_one_range_stays_a_slice_and_neighbours_are_joined(index: OpenIndex) -> None:
    [shard] = index.shards.values()
    [bank] = choose_forms(index, "bank").ranges
    assert positions_of(shard, [bank], {}) == slice(bank.first, bank.first + bank.rows)
    halves = [
        bank._replace(rows=3),
        bank._replace(first=bank.first + 3, rows=bank.rows - 3),
    ]
    assert positions_of(shard, halves[::-1], {}) == slice(bank.first, bank.first + bank.rows)
    elsewhere = FormRange("bank", "another", 0, 9)
    assert count_positions(positions_of(shard, [elsewhere], {})) == 0


def test_notes_say_what_was_taken_and_what_was_not(index: OpenIndex) -> None:
    counts = index.forms.counts()
    plain = choose_forms(index, "bank")
    assert plain.notes == (f"not searched: Bank ({counts['Bank']}); --fold-case finds them too",)
    first = choose_forms(index, "Bank", starts_sentence=True)
    assert first.notes == ("'Bank' begins the query, so 'bank' counts as the same word",)
    assert list(first.counts) == sorted(("bank", "Bank"), key=lambda form: -counts[form])


def test_absent_word_is_told_with_its_nearest_forms(index: OpenIndex) -> None:
    assert choose_forms(index, "bankk").ranges == ()
    near = nearest_indexed(index, "bankk")
    counts = index.forms.counts()
    assert near == {form: counts[form] for form in near}
    assert next(iter(near)) in ("bank", "banks", "Bank")
    words = describe_absence(index, "bankk", near)
    assert words.startswith("'bankk' never occurs in this corpus; nearest forms: ")
    assert describe_absence(index, "zz", {}) == "'zz' never occurs in this corpus"


def test_joined_choices_take_each_place_once(index: OpenIndex) -> None:
    bank, river = choose_forms(index, "bank"), choose_forms(index, "river")
    folded = choose_forms(index, "bank", fold_case=True)
    assert join_forms([bank]) is bank
    assert sorted(found_ids(index, join_forms([bank, river, bank]), {})) == sorted(
        [*found_ids(index, bank, {}), *found_ids(index, river, {})]
    )
    assert set(found_ids(index, join_forms([bank, folded]), {})) == set(
        found_ids(index, folded, {})
    )


def test_newer_segments_are_scanned_row_by_row(
    own_searcher: Searcher, add_segment: Callable[..., Corpus], documents: Callable[..., Any]
) -> None:
    corpus = add_segment(own_searcher.corpus, documents(5, 9))
    newest = corpus.segments[-1].segment_id
    gone = Change(operation="delete", supersede={newest: ["9/1"]})
    index = OpenIndex.open(commit(corpus, gone))
    rows = [
        row for batch in index.corpus.read("tokens", None, [newest]) for row in batch.to_pylist()
    ]
    parity = {"parity": "0"}
    expected = {
        row["vector_id"]: row["vector"]
        for row in rows
        if row["token"] == "bank" and int(row["doc_id"][2:]) % 2 == 0
    }
    assert expected
    assert not any(row["doc_id"] == "9/1" for row in rows)
    scanned = list(scan_unindexed(index, "tokens", choose_forms(index, "bank"), parity))
    ids = [i for each in scanned for i in each.rows.column("vector_id").to_pylist()]
    assert ids == list(expected)
    vectors = np.concatenate([each.vectors for each in scanned])
    centred = index.centering["tokens"].apply(np.array(list(expected.values()), np.float32))
    np.testing.assert_allclose(vectors, centred, atol=1e-6)
    whole = list(scan_unindexed(index, "sentences", None, {}))
    assert sum(each.rows.num_rows for each in whole) == 4 * 5
    assert {each.segment_id for each in whole} == {newest}
