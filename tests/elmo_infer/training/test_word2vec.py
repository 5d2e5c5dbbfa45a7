"""Training word2vec: what it learns, that it repeats itself, and what it refuses."""

import math

import numpy as np
import pytest

from elmo_infer import load
from elmo_infer.training import word2vec
from elmo_infer.training.word2vec import train_word2vec

pytest.importorskip("gensim")


@pytest.fixture
def text(rng) -> list[list[str]]:
    """Sentences of ten words, from one of two topics of thirty words each."""
    topics = [[f"{topic}{number}" for number in range(30)] for topic in ("river", "money")]
    return [rng.choice(topics[number % 2], 10).tolist() for number in range(600)]


SMALL = {"dim": 16, "window": 3, "min_count": 2, "subsample": 0.0}


@pytest.mark.parametrize("architecture", ["cbow", "skip-gram"])
def test_words_of_a_topic_come_together(tmp_path, text, architecture):
    out = tmp_path / "v.bin"
    train_word2vec(text, out, architecture=architecture, epochs=5, **SMALL)
    encoder = load(out)
    river, water, money = encoder.layers([["river1", "river2", "money1"]])[0][0]

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    assert cosine(river, water) > cosine(river, money) + 0.3


def test_architectures_differ(tmp_path, text):
    for name in ("cbow", "skip-gram"):
        train_word2vec(text, tmp_path / name, architecture=name, epochs=1, **SMALL)
    assert (tmp_path / "cbow").read_bytes() != (tmp_path / "skip-gram").read_bytes()


@pytest.mark.parametrize("name", ["v.bin", "v.txt.gz"])
def test_same_text_and_seed_give_the_same_bytes(tmp_path, text, name):
    written = []
    for seed in (1, 1, 2):
        folder = tmp_path / str(len(written))
        folder.mkdir()
        train_word2vec(text, folder / name, epochs=2, seed=seed, **SMALL)
        written.append((folder / name).read_bytes())
    assert written[0] == written[1] != written[2]


def test_progress_ends_at_the_last_token(tmp_path, text, monkeypatch):
    monkeypatch.setattr(word2vec, "REPORT_SECONDS", math.inf)  # at the ends of epochs alone
    seen = []
    train_word2vec(text, tmp_path / "v.bin", epochs=2, progress=seen.append, **SMALL)
    assert [report.epoch for report in seen] == [1, 2]
    assert seen[-1].tokens == seen[-1].total_tokens == 2 * 10 * 600


def test_words_with_white_space_are_left_out_and_the_log_says_so(tmp_path, text, caplog):
    text = [[*sentence, "New York"] for sentence in text]
    train_word2vec(text, tmp_path / "v.bin", epochs=1, **SMALL)
    assert load(tmp_path / "v.bin").unknown_tokens([["New York", "river1"]]) == 1
    assert "1 of 61 words hold white space" in caplog.text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"architecture": "glove"}, "unknown architecture 'glove'"),
        ({"epochs": 0}, "epochs is 0; expected at least 1"),
        ({"dim": 0}, "dim is 0"),
        ({"subsample": -1.0}, r"subsample is -1\.0; expected at least 0"),
        ({"min_count": 10_000}, "no word occurs min_count=10000 times in the 600 sentences"),
    ],
)
def test_impossible_options_are_refused(tmp_path, text, options, words):
    with pytest.raises(ValueError, match=words):
        train_word2vec(text, tmp_path / "v.bin", **options)
    assert list(tmp_path.iterdir()) == []


def test_text_without_words_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no word occurs min_count=5 times in the 0 sentences"):
        train_word2vec([], tmp_path / "v.bin")


def test_text_that_can_be_read_only_once_is_refused(tmp_path, text):
    with pytest.raises(TypeError, match="an iterator, which can be read only once"):
        train_word2vec(iter(text), tmp_path / "v.bin")


def test_nothing_is_overwritten(tmp_path, text):
    (tmp_path / "v.bin").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"v\.bin exists"):
        train_word2vec(text, tmp_path / "v.bin")
