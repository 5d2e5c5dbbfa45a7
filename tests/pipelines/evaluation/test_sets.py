"""What is held out of a set, and samples of it."""

from collections import Counter

from pipelines.evaluation.readers import read_set
from pipelines.evaluation.sets import (
    Collection,
    Context,
    Occurrence,
    SentencePairs,
    UsagePair,
    UsagePairs,
    hold_out,
    sample,
)
from tests.pipelines.evaluation.written_sets import json_lines, tokenize, write


def occurrence(name: str, sense: str = "s", word: str = "w") -> Occurrence:
    return Occurrence(id=name, word=word, sense=sense, context=Context((word,), 0))


def test_three_tenths_of_each_sense_are_held_out():
    split = hold_out([occurrence(f"o{i}", sense="ab"[i % 2]) for i in range(40)])
    assert Counter(each.sense for each in split if each.held_out) == {"a": 6, "b": 6}


def test_split_depends_on_the_ids_alone():
    occurrences = [occurrence(f"o{i}") for i in range(20)]
    forward, backward = hold_out(occurrences), hold_out(occurrences[::-1])
    held = {each.id for each in forward if each.held_out}
    assert held == {each.id for each in backward if each.held_out}
    assert [each.id for each in forward] == [f"o{i}" for i in range(20)]


def test_a_rare_sense_keeps_something_to_build_its_centroid():
    split = hold_out([occurrence("x", "one"), occurrence("y", "two"), occurrence("z", "two")])
    held = Counter(each.sense for each in split if each.held_out)
    assert held == {"two": 1}


def test_sample_bounds_each_word_and_splits_what_is_left(tmp_path):
    rows = [
        {"id": f"{word}{i}", "word": word, "index": 0, "sense": i % 2, "tokens": [word]}
        for word, count in (("a", 30), ("b", 4))
        for i in range(count)
    ]
    write(tmp_path / "coarsewsd20/train.jsonl.gz", json_lines(*rows))
    whole = read_set(tmp_path, "coarsewsd20", tokenize)
    drawn = sample(whole, 10, seed=1)
    assert Counter(each.word for each in drawn.occurrences) == {"a": 10, "b": 4}
    assert drawn == sample(whole, 10, seed=1)
    assert drawn != sample(whole, 10, seed=2)
    assert any(each.held_out for each in drawn.occurrences if each.word == "b")


def test_sample_keeps_pairs_together():
    pairs = tuple(
        UsagePair(id=str(i), left=Context((str(i),), 0), right=Context((str(i),), 0), gold=i)
        for i in range(50)
    )
    drawn = sample(UsagePairs(name="n", pairs=pairs, train=pairs[:3]), 5, seed=0)
    assert len(drawn.pairs) == 5
    assert len(drawn.train) == 3
    assert set(drawn.pairs) < set(pairs)
    names = tuple((str(i),) for i in range(50))
    drawn = sample(SentencePairs(name="n", left=names, right=names, gold=tuple(range(50))), 5, 0)
    assert drawn.left == drawn.right == tuple((str(gold),) for gold in drawn.gold)


def test_sampled_collection_renumbers_its_judgements():
    documents = tuple(((str(i),),) for i in range(20))
    collection = Collection(
        name="n",
        document_ids=tuple(map(str, range(20))),
        documents=documents,
        queries=tuple((("q", str(i)),) for i in range(20)),
        gains=tuple({i: float(i + 1)} for i in range(20)),
    )
    drawn = sample(collection, 6, seed=0)
    assert len(drawn.documents) == len(drawn.queries) == 6
    for query, gains in zip(drawn.queries, drawn.gains, strict=True):
        ((number, gain),) = gains.items()
        assert drawn.documents[number] == ((query[0][1],),)
        assert gain == int(query[0][1]) + 1
