"""The teacher against torch's own transformer, and what its lessons do."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from elmo_infer.training import pretrain
from elmo_infer.training.bilm import train_bilm
from elmo_infer.training.checkpoint import CHECKPOINT, PretrainOptions
from elmo_infer.training.distillation import attention_pool
from elmo_infer.training.presets import preset
from elmo_infer.training.teacher import Teacher, WordPieces
from elmo_infer.training.token_store import build_token_store

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##aff", "##able", "cafe", ".", "the", "cat"]
DIM, HEADS, LAYERS = 16, 4, 2


@pytest.fixture
def teacher_dir(make_teacher: Callable[..., Path]) -> Path:
    """A random BERT encoder of two layers in the layout of sentence-transformers."""
    return make_teacher(PIECES, dim=DIM, heads=HEADS, layers=LAYERS)


def states_by_torch(weights: dict[str, Tensor], ids: Tensor, layers: int = LAYERS) -> Tensor:
    """Run the first layers of the same weights through nn.TransformerEncoderLayer."""
    x = weights["embeddings.word_embeddings.weight"][ids]
    x = x + weights["embeddings.position_embeddings.weight"][: len(ids)]
    x = x + weights["embeddings.token_type_embeddings.weight"][0]
    norm = weights["embeddings.LayerNorm.weight"], weights["embeddings.LayerNorm.bias"]
    x = nn.functional.layer_norm(x, (DIM,), *norm, 1e-12)[None]
    for layer in range(layers):
        module = nn.TransformerEncoderLayer(
            DIM, HEADS, 32, dropout=0.0, activation="gelu", layer_norm_eps=1e-12, batch_first=True
        )
        name = f"encoder.layer.{layer}"
        joined = {
            kind: torch.cat(
                [
                    weights[f"{name}.attention.self.{part}.{kind}"]
                    for part in ("query", "key", "value")
                ]
            )
            for kind in ("weight", "bias")
        }
        module.load_state_dict(
            {
                "self_attn.in_proj_weight": joined["weight"],
                "self_attn.in_proj_bias": joined["bias"],
                **{
                    f"{theirs}.{kind}": weights[f"{name}.{ours}.{kind}"]
                    for theirs, ours in (
                        ("self_attn.out_proj", "attention.output.dense"),
                        ("linear1", "intermediate.dense"),
                        ("linear2", "output.dense"),
                        ("norm1", "attention.output.LayerNorm"),
                        ("norm2", "output.LayerNorm"),
                    )
                    for kind in ("weight", "bias")
                },
            }
        )
        with torch.no_grad():
            x = module.train()(x)
    return x[0]


def test_pieces_are_the_longest_that_match(teacher_dir: Path) -> None:
    pieces = WordPieces(teacher_dir / "vocab.txt")
    assert pieces("Unaffable") == [4, 5, 6]
    assert pieces("café.") == [7, 8]
    assert pieces("zebra") == [1]
    assert pieces("\u200b") == [1]


def test_states_equal_torchs_transformer(teacher_dir: Path) -> None:
    teacher = Teacher.open(teacher_dir)
    words, sentences = teacher.states([["the", "unaffable", "cat"], ["cat", "cat", "."]])
    ids = torch.tensor([2, 9, 4, 5, 6, 10, 3])
    expected = states_by_torch(teacher.weights, ids)
    torch.testing.assert_close(words[0, 1], expected[2:5].mean(0), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(words[0, 2], expected[5], atol=1e-4, rtol=1e-4)
    mean = expected.mean(0)
    torch.testing.assert_close(sentences[0], mean / mean.norm(), atol=1e-4, rtol=1e-4)


def test_sentences_of_fewer_pieces_are_padded_behind_their_end(teacher_dir: Path) -> None:
    teacher = Teacher.open(teacher_dir)
    table = teacher.table_of(["the", "unaffable", "cat"])
    ids, owners = table.arrange(np.array([[2, 0], [0, 1], [0, 0]]), teacher.pieces)
    assert ids.tolist() == [[2, 10, 9, 3, 0, 0], [2, 9, 4, 5, 6, 3], [2, 9, 9, 3, 0, 0]]
    assert owners.tolist() == [[2, 0, 1, 2, 2, 2], [2, 0, 1, 1, 1, 2], [2, 0, 1, 2, 2, 2]]
    words, sentences = teacher.states_of(table, np.array([[2, 0], [0, 1]]))
    alone, itself = teacher.states([["cat", "the"]])
    torch.testing.assert_close(words[:1], alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(sentences[:1], itself, atol=1e-5, rtol=1e-5)


def test_a_words_state_in_the_middle_is_the_mean_of_two_layers(teacher_dir: Path) -> None:
    teacher = Teacher.open(teacher_dir)
    assert teacher.middle_layers == (1, 2)
    teacher.n_layers = 6
    assert teacher.middle_layers == (3, 4)
    teacher.n_layers = 1
    assert teacher.middle_layers == (1,)
    teacher.n_layers = LAYERS
    words, sentences = teacher.states([["the", "unaffable", "cat"]], (1, 2))
    ids = torch.tensor([2, 9, 4, 5, 6, 10, 3])
    below = states_by_torch(teacher.weights, ids, layers=1)
    last = states_by_torch(teacher.weights, ids)
    expected = (below + last)[2:5].mean(0) / 2
    torch.testing.assert_close(words[0, 1], expected, atol=1e-4, rtol=1e-4)
    of_the_last, same = teacher.states([["the", "unaffable", "cat"]])
    assert not torch.allclose(words, of_the_last, atol=1e-2)
    assert torch.equal(sentences, same)


def test_words_beyond_the_window_are_zero(teacher_dir: Path) -> None:
    words, _ = Teacher.open(teacher_dir).states([["cat"] * 130])
    assert bool((words[0, 125] != 0).any())
    assert bool((words[0, 126:] == 0).all())


def test_missing_file_of_a_teacher_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        Teacher.open(tmp_path)


def test_lessons_are_learned_and_the_query_is_kept(teacher_dir: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    documents = [
        [[str(word) for word in rng.choice(["the", "cat", "unaffable", "."], size=5)]]
        for _ in range(60)
    ]
    store = build_token_store(documents, tmp_path / "text")
    out = tmp_path / "out"
    out.mkdir()
    losses: list[float] = []
    read: list[tuple[int, int]] = []
    state = train_bilm(
        store,
        out,
        preset("tiny"),
        PretrainOptions(steps=60, tokens_per_batch=40, warmup_steps=5, checkpoint_minutes=1e-9),
        teacher=teacher_dir,
        report=lambda progress: losses.append(progress.auxiliary or 0.0),
        report_sentences=lambda *numbers: read.append(numbers),
    )
    # The first batch has no earlier occurrences that it could be compared with.
    assert np.mean(losses[-5:]) < 0.75 * np.mean(losses[1:6])
    assert read[-1] == (60, 60)
    # It went on from the query of the losses, by what the teacher says of near sentences.
    query = load_file(out / "pooling.safetensors")["query"]
    learned = state.auxiliary["query"].detach()
    assert float(learned.abs().max()) > 0
    assert not query.equal(learned)
    assert float((query - learned).abs().max()) < 0.02 * 400


def test_reports_do_not_need_a_checkpoint_nor_stand_for_the_last_one(
    teacher_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(pretrain, "REPORT_SECONDS", 0.0)
    store = build_token_store([[["the", "cat", "."]] * 30], tmp_path / "text")
    out = tmp_path / "out"
    out.mkdir()
    steps: list[int] = []
    state = train_bilm(
        store,
        out,
        preset("tiny"),
        PretrainOptions(steps=3, tokens_per_batch=30),
        teacher=teacher_dir,
        report=lambda progress: steps.append(progress.step),
    )
    # Its sentences are too short for a query of their own.
    assert "the model uses the query of training as it is: the text has 0 sentences" in caplog.text
    assert load_file(out / "pooling.safetensors")["query"].equal(state.auxiliary["query"].detach())
    assert steps == [1, 2, 3, 3]  # the last is the checkpoint's
    assert torch.load(out / CHECKPOINT, weights_only=True)["step"] == 3


def test_attention_pooling_by_hand() -> None:
    # Scores q.k/sqrt(4) are 0 and ln 3, so the weights are 1/4 and 3/4.
    vectors = torch.tensor([[[0.0, 4.0, 0.0, 0.0], [2 * math.log(3.0), 0.0, 0.0, 8.0]]])
    pooled = attention_pool(vectors, torch.tensor([1.0, 0.0, 0.0, 0.0]))
    expected = torch.tensor([[1.5 * math.log(3.0), 1.0, 0.0, 6.0]])
    torch.testing.assert_close(pooled, expected)
