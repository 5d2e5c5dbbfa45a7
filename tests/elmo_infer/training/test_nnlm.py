"""The NNLM: its equation by hand, what it learns, and the directory it writes."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from elmo_infer import load
from elmo_infer.training import nnlm
from elmo_infer.training.nnlm import Nnlm, train_nnlm

WORDS = [f"w{number}" for number in range(8)]
SMALL = {"dim": 8, "context": 2, "hidden": 16, "min_count": 1, "batch_tokens": 64, "draws": 64}


@pytest.fixture
def chain(rng) -> list[list[str]]:
    """Sentences where each word is followed by one of two with equal chance: 1 bit a word."""
    sentences = []
    for _ in range(400):
        words = [int(rng.integers(8))]
        while len(words) < 10:
            words.append((words[-1] * 2 + int(rng.integers(2))) % 8)
        sentences.append([WORDS[word] for word in words])
    return sentences


def random_nnlm(rng, *, direct: bool) -> Nnlm:
    def normal(*shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.standard_normal(shape).astype(np.float32))

    return Nnlm(
        vocabulary=["a", "<unk>", "b"],
        context=2,
        direct=direct,
        embedding=normal(4, 3),
        hidden=normal(7, 5),
        output=normal(3, 6 + (6 if direct else 0)),
    )


@pytest.mark.parametrize("direct", [False, True])
def test_log_probabilities_are_those_of_the_equation(rng, direct):
    model = random_nnlm(rng, direct=direct)
    x = np.concatenate([model.embedding[2], model.embedding[0]])  # context: b a
    activation = np.tanh(x @ model.hidden[:6].numpy() + model.hidden[6].numpy())
    output = model.output.numpy()
    scores = output[:, :5] @ activation + output[:, -1]
    if direct:
        scores += output[:, 5:11] @ x
    expected = scores - np.log(np.exp(scores).sum())
    found = model.log_probabilities(torch.tensor([[2, 0]]))[0]
    assert found.numpy() == pytest.approx(expected, abs=1e-5)


def test_perplexity_is_that_of_the_probabilities(rng):
    model = random_nnlm(rng, direct=False)
    # Ids: start 3; "b x" is 2 1.
    contexts = torch.tensor([[3, 3], [3, 2]])
    logs = model.log_probabilities(contexts)
    expected = math.exp(-(float(logs[0, 2]) + float(logs[1, 1])) / 2)
    assert model.perplexity([["b", "x"]]) == pytest.approx(expected, rel=1e-5)


def test_sentences_do_not_see_each_other(rng):
    model = random_nnlm(rng, direct=False)
    alone = [model.perplexity([["a", "b"]]), model.perplexity([["b", "b", "a"]])]
    together = model.perplexity([["a", "b"], ["b", "b", "a"]])
    expected = math.exp((2 * math.log(alone[0]) + 3 * math.log(alone[1])) / 5)
    assert together == pytest.approx(expected, rel=1e-5)


def test_perplexity_of_nothing_is_refused(rng):
    with pytest.raises(ValueError, match="no tokens"):
        random_nnlm(rng, direct=False).perplexity([[]])


@pytest.mark.parametrize(
    "settings", [{}, {"direct": True}, {"precision": "bfloat16"}], ids=["plain", "direct", "half"]
)
def test_training_comes_near_the_entropy_of_the_text(tmp_path, chain, settings):
    model = train_nnlm(
        chain[:300], tmp_path / "m", epochs=12, learning_rate=0.01, **settings, **SMALL
    )
    # First word of ten: 8 choices; the others: 2.
    entropy = math.exp((math.log(8) + 9 * math.log(2)) / 10)
    assert entropy < model.perplexity(chain[300:]) < 1.1 * entropy


def test_what_is_written_is_what_was_trained(tmp_path, chain):
    model = train_nnlm(chain, tmp_path / "m", epochs=1, **SMALL)
    written = load_file(tmp_path / "m" / "weights.safetensors")
    for name in ("hidden", "output"):
        torch.testing.assert_close(written[name], getattr(model, name), rtol=0, atol=0)
    encoder = load(tmp_path / "m")
    row = model.vocabulary.index("w3")
    assert encoder.layers([["w3"]])[0][0, 0].tolist() == model.embedding[row].tolist()
    row = model.vocabulary.index("<unk>")
    assert encoder.layers([["never"]])[0][0, 0].tolist() == model.embedding[row].tolist()


def test_same_text_and_seed_give_the_same_bytes(tmp_path, chain):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train_nnlm(chain, tmp_path / name, epochs=1, seed=seed, **SMALL)
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in "abc"]
    assert weights[0] == weights[1] != weights[2]


def test_rare_words_become_the_unknown_word(tmp_path):
    text = [["a", "b", "a", "rare"], ["b", "a", "b", "a"]]
    train_nnlm(text, tmp_path / "m", epochs=1, **{**SMALL, "min_count": 2})
    settings = json.loads((tmp_path / "m" / "nnlm.json").read_text(encoding="utf-8"))
    assert settings["vocabulary"] == ["a", "b", "<unk>"]
    assert settings["training"]["tokens"] == 8


def test_the_symbols_in_a_text_mean_just_that(tmp_path):
    model = train_nnlm([["<unk>", "a", "<s>", "a"]], tmp_path / "m", epochs=1, **SMALL)
    assert model.vocabulary == ["a", "<unk>"]


def test_progress_tells_the_loss(tmp_path, chain, monkeypatch):
    monkeypatch.setattr(nnlm, "REPORT_SECONDS", math.inf)  # at the ends of epochs alone
    seen = []
    train_nnlm(chain, tmp_path / "m", epochs=3, progress=seen.append, learning_rate=0.01, **SMALL)
    assert [report.epoch for report in seen] == [1, 2, 3]
    assert seen[-1].tokens == seen[-1].total_tokens == 3 * 4000
    assert seen[-1].loss < seen[0].loss


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"context": 0}, "context is 0; expected at least 1"),
        ({"epochs": 0}, "epochs is 0"),
        ({"learning_rate": 3.0}, r"learning_rate is 3\.0; expected between 0 and 1"),
        ({"precision": "int8"}, "precision is 'int8'; expected one of float32, bfloat16"),
        ({"min_count": 99_999}, "no word occurs min_count=99999 times"),
    ],
)
def test_impossible_settings_are_refused(tmp_path, chain, settings, words):
    with pytest.raises(ValueError, match=words):
        train_nnlm(chain, tmp_path / "m", **settings)
    assert list(tmp_path.iterdir()) == []


def test_text_that_can_be_read_only_once_is_refused(tmp_path, chain):
    with pytest.raises(TypeError, match="an iterator, which can be read only once"):
        train_nnlm(iter(chain), tmp_path / "m")


def test_nothing_is_overwritten(tmp_path, chain):
    (tmp_path / "m").mkdir()
    with pytest.raises(FileExistsError, match="m exists"):
        train_nnlm(chain, tmp_path / "m")
