"""Batches: the same from any number of processes, other documents lower-cased in each pass."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from elmo_infer.training.batch_maker import BatchMaker, batches_of_a_run
from elmo_infer.training.forms import WordForms
from elmo_infer.training.spelled_batch import Batch, Spellings
from elmo_infer.training.teacher import Teacher
from elmo_infer.training.teacher_cache import Taught, TeacherCache, teacher_cache
from elmo_infer.training.token_store import TokenStore, build_token_store

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "dog", "sat", "ran", "."]


@pytest.fixture
def cased(tmp_path: Path) -> TokenStore:
    """Forty documents of sentences in title case."""
    rng = np.random.default_rng(3)
    words = ["The", "Cat", "Dog", "Sat", "Ran"]
    documents = [
        [[*rng.choice(words, size=rng.integers(3, 7)), "."] for _ in range(4)] for _ in range(40)
    ]
    return build_token_store(
        documents, tmp_path / "cased", lowercase_share=0.5, lowercase_each_pass=True
    )


@pytest.fixture
def cache(cased: TokenStore, make_teacher: Callable[..., Path], tmp_path: Path) -> TeacherCache:
    teacher = Teacher.open(make_teacher(PIECES))
    forms = WordForms.of(cased.types, str.isalnum)
    senses = np.eye(32, 6, dtype=np.float32)
    return teacher_cache(
        teacher, cased, forms.taught, Taught(layers=(1,)), tmp_path / "cache", senses=senses
    )


def maker_of(store: TokenStore, cache: TeacherCache | None = None, **changes: object) -> BatchMaker:
    settings = {"lowercase_share": 0.5, "seed": 4} | changes
    return BatchMaker(
        store=store,
        spellings=Spellings.of(store.types, 50),
        vocabulary=9,
        draws=8,
        tokens_per_batch=48,
        forms=WordForms.of(store.types, str.isalnum),
        cache=cache,
        **settings,  # type: ignore[arg-type]
    )


def words_of(store: TokenStore, batch: Batch) -> list[list[str]]:
    """The words of a batch's sentences, read from their spellings."""
    spelled = {
        tuple(row): word
        for row, word in zip(Spellings.of(store.types, 50).table[:-2].tolist(), store.types,
                             strict=True)
    }  # fmt: skip
    words = [spelled.get(tuple(row)) for row in batch.characters.tolist()]
    return [[words[place] or "" for place in row] for row in batch.places[1:-1].t().tolist()]


def same(one: Batch, other: Batch) -> bool:
    assert one.taught is not None
    assert other.taught is not None
    pairs = [
        (one.characters, other.characters), (one.places, other.places), (one.kinds, other.kinds),
        *zip(one.targets, other.targets, strict=True),
        *((vars(one.taught)[name], vars(other.taught)[name]) for name in vars(one.taught)),
        *((vars(one.candidates)[n], vars(other.candidates)[n]) for n in vars(one.candidates)),
    ]  # fmt: skip
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.slow
def test_processes_change_no_batch(cased: TokenStore, cache: TeacherCache) -> None:
    maker = maker_of(cased, cache)
    here = list(islice(batches_of_a_run(maker, 3), 12))
    there = list(islice(batches_of_a_run(maker, 3, processes=2), 12))
    assert all(map(same, here, there))


def test_a_resumed_run_sees_the_batches_of_a_whole_one(
    cased: TokenStore, cache: TeacherCache
) -> None:
    maker = maker_of(cased, cache)
    whole = list(islice(batches_of_a_run(maker, 0), 30))
    rest = list(islice(batches_of_a_run(maker, 20), 10))
    assert all(map(same, whole[20:], rest))
    assert not same(whole[20], whole[21])


def test_a_pass_lower_cases_whole_documents_and_another_pass_others(cased: TokenStore) -> None:
    maker = maker_of(cased)
    lowered: list[set[int]] = []
    for epoch in range(2):
        found: dict[int, bool] = {}
        for document in range(40):
            sentences = np.arange(*cased.documents[document : document + 2])
            for sentence in sentences:
                (words,) = words_of(cased, maker[0, epoch, np.array([sentence])])
                lower = all(word.islower() or word == "." for word in words)
                assert found.setdefault(document, lower) == lower
                assert lower or not any(word.islower() for word in words)
        lowered.append({document for document, lower in found.items() if lower})
    assert 10 < len(lowered[0]) < 30
    assert lowered[0] != lowered[1]


def test_counts_are_those_to_expect_of_lower_cased_documents(cased: TokenStore) -> None:
    place = {word: index for index, word in enumerate(cased.types)}
    for word in ("Cat", "Dog"):
        upper, lower = cased.counts[place[word]], cased.counts[place[word.lower()]]
        tokens = int((cased.tokens == place[word]).sum())
        assert upper == pytest.approx(tokens / 2, abs=1)
        assert lower == pytest.approx(tokens / 2, abs=1)


def test_what_is_taught_is_of_the_words_at_their_places(
    cased: TokenStore, cache: TeacherCache
) -> None:
    sentences = np.flatnonzero(cased.lengths == 5)[:4]
    batch = maker_of(cased, cache)[0, 0, sentences]
    assert batch.taught is not None
    tokens = cased.sentences[sentences][None, :] + np.arange(5)[:, None]  # time first
    rows = cache.rows[tokens.ravel()[batch.taught.places.numpy()]]
    np.testing.assert_array_equal(batch.taught.words.numpy(), cache.words[rows])
    np.testing.assert_array_equal(batch.taught.sentences.numpy(), cache.sentences[sentences])


def test_case_is_folded_where_asked_for(cased: TokenStore, cache: TeacherCache) -> None:
    sentences = np.flatnonzero(cased.lengths == 5)
    both = [maker_of(cased, cache, fold=fold)[0, 0, sentences].taught for fold in (False, True)]
    plain, folded = (
        {cased.types[one].lower(): set() for one in batch.types.tolist()}  # type: ignore[union-attr]
        for batch in both
    )
    for batch, found in zip(both, (plain, folded), strict=True):
        assert batch is not None
        for one in batch.types.tolist():
            found[cased.types[one].lower()].add(one)
    assert 2 in {len(one) for one in plain.values()}
    assert {len(one) for one in folded.values()} == {1}


def test_a_batch_goes_to_a_device_whole(cased: TokenStore, cache: TeacherCache) -> None:
    batch = maker_of(cased, cache)[0, 0, np.flatnonzero(cased.lengths == 5)]
    assert batch.to(torch.device("cpu")) is batch
    assert batch.taught is not None
    assert all(isinstance(one, torch.Tensor) for one in vars(batch.taught).values())
