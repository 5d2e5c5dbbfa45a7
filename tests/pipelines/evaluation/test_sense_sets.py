"""Sets with gold senses, and the samples that are read from them."""

import gzip
import json
from pathlib import Path

import pytest

from pipelines.evaluation.sense_sets import (
    SAMPLED,
    context_at,
    read_coarsewsd20,
    read_labels,
    read_small_samples,
)


def write(folder: Path, name: str, word: str, count: int) -> None:
    folder.mkdir()
    rows = [
        {"id": f"{word}{i}", "word": word, "index": 1, "sense": i % 2, "tokens": ["the", word]}
        for i in range(count)
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / name).write_bytes(gzip.compress(text.encode()))


def test_samples_take_both_sets_and_a_bounded_number_of_each_word(tmp_path: Path) -> None:
    write(tmp_path / "coarsewsd20", "train.jsonl.gz", "bank", SAMPLED + 40)
    write(tmp_path / "senseval_4words", "serve.jsonl.gz", "serve", 12)
    found = read_small_samples(tmp_path / "coarsewsd20")
    words = [one.lemma for one in found.instances]
    assert (words.count("bank"), words.count("serve")) == (SAMPLED, 12)
    assert {one.gold for one in found.instances} == {(("0", 1.0),), (("1", 1.0),)}
    assert read_labels(tmp_path / "coarsewsd20").instances == found.instances


def test_one_set_alone_will_do(tmp_path: Path) -> None:
    write(tmp_path / "coarsewsd20", "train.jsonl.gz", "bank", 12)
    assert len(read_small_samples(tmp_path / "coarsewsd20").instances) == 12
    assert len(read_coarsewsd20(tmp_path / "coarsewsd20").occurrences) == 12


def test_a_target_outside_its_sentence_is_named() -> None:
    with pytest.raises(ValueError, match="f:3: target position 2 outside the 2 tokens"):
        context_at("f:3", ["the", "bank"], 2)
