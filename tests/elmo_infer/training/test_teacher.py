"""The teacher against torch's own transformer, and what its lessons do."""

import itertools
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
from elmo_infer.training.presets import preset
from elmo_infer.training.teacher import Teacher, distance_buckets, is_uncased
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
    words = np.array([2, 0, 0, 1, 0, 0])
    ids, owners = table.arrange(words, np.array([2, 2, 2]), teacher.pieces)
    assert ids.tolist() == [[2, 10, 9, 3, 0, 0], [2, 9, 4, 5, 6, 3], [2, 9, 9, 3, 0, 0]]
    assert owners.tolist() == [[6, 0, 1, 6, 6, 6], [6, 2, 3, 3, 3, 6], [6, 4, 5, 6, 6, 6]]
    states, sentences = teacher.states_of(table, np.array([2, 0, 0, 1]), np.array([2, 2]))
    alone, itself = teacher.states([["cat", "the"]])
    torch.testing.assert_close(states.view(2, 2, -1)[:1], alone, atol=1e-5, rtol=1e-5)
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
    state = train_bilm(
        store,
        out,
        preset("tiny"),
        PretrainOptions(steps=100, tokens_per_batch=40, warmup_steps=5, checkpoint_minutes=1e-9),
        teacher=teacher_dir,
        report=lambda progress: losses.append(progress.auxiliary or 0.0),
    )
    # The first batch has no earlier occurrences that it could be compared with.
    assert np.mean(losses[-5:]) < 0.75 * np.mean(losses[1:6])
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


MPNET_PIECES = ["<s>", "<pad>", "</s>", "<unk>", "[UNK]", "the", "cat", "un", "##aff", "##able"]


def test_mpnets_states_by_its_equations(make_teacher: Callable[..., Path]) -> None:
    directory = make_teacher(MPNET_PIECES, dim=DIM, heads=HEADS, layers=1, kind="mpnet")
    w = load_file(directory / "model.safetensors")
    ids = torch.tensor([0, 5, 7, 8, 9, 2])  # the, un aff able
    norm = w["embeddings.LayerNorm.weight"], w["embeddings.LayerNorm.bias"]
    x = w["embeddings.word_embeddings.weight"][ids]
    x = x + w["embeddings.position_embeddings.weight"][2:8]  # its first two are of padding
    x = nn.functional.layer_norm(x, (DIM,), *norm, 1e-12)

    def linear(values: Tensor, part: str) -> Tensor:
        name = f"encoder.layer.0.{part}"
        return values @ w[f"{name}.weight"].t() + w[f"{name}.bias"]

    def normed(values: Tensor, part: str) -> Tensor:
        name = f"encoder.layer.0.{part}"
        both = w[f"{name}.weight"], w[f"{name}.bias"]
        return nn.functional.layer_norm(values, (DIM,), *both, 1e-12)

    size = DIM // HEADS
    mixed = torch.zeros(6, DIM)
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        q, k, v = (linear(x, f"attention.attn.{one}")[:, part] for one in "qkv")
        scores = q @ k.t() / size**0.5
        for i, j in itertools.product(range(6), range(6)):
            # Nearer than eight places each distance has a bucket; those ahead come second.
            bucket = i - j if i >= j else 16 + j - i
            scores[i, j] += w["encoder.relative_attention_bias.weight"][bucket, head]
        mixed[:, part] = torch.softmax(scores, dim=1) @ v
    x = normed(x + linear(mixed, "attention.attn.o"), "attention.LayerNorm")
    inner = nn.functional.gelu(linear(x, "intermediate.dense"))
    x = normed(x + linear(inner, "output.dense"), "output.LayerNorm")

    words, sentence = Teacher.open(directory).states([["The", "unaffable"]])
    expected = torch.stack([x[1], x[2:5].mean(0)])
    torch.testing.assert_close(words[0], expected, atol=1e-5, rtol=1e-5)
    whole = nn.functional.normalize(x.mean(0), dim=0)
    torch.testing.assert_close(sentence[0], whole, atol=1e-5, rtol=1e-5)


def test_far_distances_share_buckets() -> None:
    buckets = distance_buckets(200, 32)
    # 8 + 8 log(d / 8) / log(16), rounded down and at most 15.
    for distance, bucket in ((0, 0), (7, 7), (8, 8), (11, 8), (12, 9), (64, 14), (199, 15)):
        assert int(buckets[distance, 0]) == bucket
        assert distance == 0 or int(buckets[0, distance]) == 16 + bucket


def test_another_kind_of_model_is_refused(teacher_dir: Path) -> None:
    config = teacher_dir / "config.json"
    config.write_text(config.read_text().replace('"bert"', '"gpt2"'))
    with pytest.raises(ValueError, match="model_type is 'gpt2'; expected one of 'bert', 'mpnet'"):
        Teacher.open(teacher_dir)


def test_a_teacher_without_pieces_is_refused(teacher_dir: Path) -> None:
    (teacher_dir / "vocab.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"it has neither vocab\.txt nor tokenizer\.json"):
        Teacher.open(teacher_dir)


def test_most_teachers_are_uncased(teacher_dir: Path) -> None:
    assert is_uncased(teacher_dir)
    (teacher_dir / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert not is_uncased(teacher_dir)
