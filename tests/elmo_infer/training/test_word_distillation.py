"""Single words: what the teacher is asked, what the token layer learns, what the LSTMs keep."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from elmo_infer.training import bilm, pretrain, word_distillation
from elmo_infer.training.bilm import train_bilm
from elmo_infer.training.checkpoint import CHECKPOINT, PretrainOptions, new_state
from elmo_infer.training.network import Network, run_direction
from elmo_infer.training.presets import preset
from elmo_infer.training.token_store import TokenStore, build_token_store
from elmo_infer.training.word_distillation import (
    LessonProgress,
    WordLessons,
    WordReview,
    read_as_before,
    teach_words,
    token_vectors,
    word_targets,
)

CONFIG = preset("tiny")
DIM = 8


class HashTeacher:
    """A teacher with a random state for each word, whatever its capitals."""

    dim = DIM
    device = torch.device("cpu")

    middle_layers = (1,)

    def __init__(self) -> None:
        self.read: list[str] = []

    def pieces(self, word: str) -> list[int]:
        return list(word.lower().encode())

    def states(
        self, sentences: list[list[str]], layers: Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor]:
        assert layers == (None if max(map(len, sentences)) == 1 else self.middle_layers)
        self.read += [word for sentence in sentences for word in sentence]
        words = torch.stack([torch.stack([direction(w) for w in s]) for s in sentences])
        return words, F.normalize(words.sum(1), dim=1)


def direction(word: str) -> Tensor:
    seed = int.from_bytes(hashlib.sha256(word.lower().encode()).digest()[:4])
    return torch.randn(DIM, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def store(tmp_path: Path, rng: np.random.Generator) -> TokenStore:
    words = ["".join(rng.choice(list("abcdefgh"), size=rng.integers(2, 7))) for _ in range(40)]
    documents = [[[str(word) for word in rng.choice(words, 12)]] for _ in range(60)]
    return build_token_store(documents, tmp_path / "text")


def targets_of(store: TokenStore) -> Tensor:
    return word_targets(HashTeacher(), store.types)  # type: ignore[arg-type]


def network_of(store: TokenStore) -> Network:
    return new_state(store, CONFIG, PretrainOptions(steps=1)).network


def vectors_of(network: Network) -> Tensor:
    """The token layer's vectors of all types, in their order."""
    n_types = len(network.spellings.lengths) - 2
    characters = torch.from_numpy(network.spellings.table[:n_types].astype(np.int64))
    (found,) = network.encode(characters, np.full(n_types, CONFIG.max_characters), parts=1)
    return found[0].detach()


def readable(vectors: Tensor, targets: Tensor) -> float:
    """Mean cosine of the best linear reading of the targets, around their mean, and these."""
    around = targets - targets.mean(0)
    columns = torch.cat([vectors, torch.ones(len(vectors), 1)], dim=1)
    found = columns @ torch.linalg.lstsq(columns, around).solution
    return float(F.cosine_similarity(found, around).mean())


def test_each_spelling_is_read_once_and_targets_keep_the_order_of_the_words() -> None:
    teacher = HashTeacher()
    words = ["Banks", "a", "banks", "river", "A"]
    targets = word_targets(teacher, words)  # type: ignore[arg-type]
    assert sorted(word.lower() for word in teacher.read) == ["a", "banks", "river"]
    read = torch.stack([1.75 * F.normalize(direction(word), dim=0) for word in words])
    torch.testing.assert_close(targets, read - read.mean(0))


def test_what_the_teacher_knows_of_a_word_can_be_read_off(
    store: TokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word_distillation, "REPORT_SECONDS", 0.0)  # tell of each step
    network = network_of(store)
    # With more words than columns, a linear map cannot read just anything off.
    assert len(store.types) > 2 * CONFIG.projection_dim
    told: list[LessonProgress] = []
    targets = word_targets(HashTeacher(), store.types, told.append)  # type: ignore[arg-type]
    before = readable(vectors_of(network), targets)
    lessons = WordLessons(epochs=2000, learning_rate=5e-3)
    teach_words(network, store, targets, lessons, report=told.append)
    assert before < 0.85
    assert readable(vectors_of(network), targets) > 0.97
    assert told[-1].words == told[-1].total_words
    reading, *teaching = told
    assert (reading.words, reading.loss) == (len(store.types), None)
    assert teaching[-1].loss < 0.2 < teaching[0].loss


def test_vectors_stand_in_the_order_of_the_words(store: TokenStore) -> None:
    network = network_of(store)
    found = token_vectors(network, len(store.types))
    torch.testing.assert_close(found, vectors_of(network), atol=1e-5, rtol=0)


def test_lessons_leave_all_but_the_token_layer_alone(store: TokenStore) -> None:
    network = network_of(store)
    before = {name: value.clone() for name, value in network.parameters.items()}
    teach_words(network, store, targets_of(store), WordLessons(epochs=50))
    changed = {name for name, one in network.parameters.items() if not one.equal(before[name])}
    assert changed == {name for name in before if name.startswith(("char_embed", "CNN"))}


def test_lstms_read_old_vectors_off_rotated_ones_exactly(store: TokenStore) -> None:
    network = network_of(store)
    before = vectors_of(network)
    generator = torch.Generator().manual_seed(5)
    turn = torch.linalg.qr(torch.randn(CONFIG.projection_dim, CONFIG.projection_dim,
                                       generator=generator))[0]  # fmt: skip
    after = before @ turn * 2.0 + 0.5
    expected = [run_direction(network.parameters, CONFIG, d, before[:, None], torch.float32)
                for d in (0, 1)]  # fmt: skip
    read_as_before(network, before, after, np.arange(len(before), 0, -1))
    for each in (0, 1):
        found = run_direction(network.parameters, CONFIG, each, after[:, None], torch.float32)
        torch.testing.assert_close(found, expected[each], atol=1e-4, rtol=0)


def test_a_trained_model_keeps_most_of_what_its_lstms_say(store: TokenStore) -> None:
    changes = {}
    for keep in (False, True):
        network = network_of(store)
        before = run_direction(
            network.parameters, CONFIG, 0, vectors_of(network)[:, None], torch.float32
        )[-1]
        lessons = WordLessons(epochs=500, learning_rate=5e-3)
        teach_words(network, store, targets_of(store), lessons, keep=keep)
        after = run_direction(
            network.parameters, CONFIG, 0, vectors_of(network)[:, None], torch.float32
        )[-1]
        changes[keep] = float((after - before).square().mean() / before.square().mean())
    assert changes[True] < 0.2 * changes[False]


def test_words_are_drawn_as_they_weigh_in_sums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = build_token_store([[["often"] * 999 + ["rare"]]], tmp_path / "text")
    drawn: list[np.ndarray] = []

    class Listener:
        def __init__(self, *_: object) -> None:
            pass

        def step(self, words: np.ndarray, *_: float) -> float:
            drawn.append(words)
            return 0.0

    monkeypatch.setattr(word_distillation, "Learner", Listener)
    teach_words(network_of(store), store, targets_of(store), WordLessons(epochs=200_000))
    words = np.concatenate(drawn)
    assert store.types == ["often", "rare"]
    # 0.999 / (0.001 + 0.999) is 0.999, 0.001 / (0.001 + 0.001) is 0.5; the standard error is 0.001.
    assert np.mean(words == 1) == pytest.approx(0.5 / 1.499, abs=0.005)


def test_lessons_can_be_repeated(store: TokenStore) -> None:
    networks = [network_of(store), network_of(store)]
    for network in networks:
        teach_words(network, store, targets_of(store), WordLessons(epochs=30))
    for name, value in networks[0].parameters.items():
        assert value.equal(networks[1].parameters[name]), name


@pytest.fixture
def teacher_dir(make_teacher: Callable[..., Path]) -> Path:
    """A random encoder that reads the words letter by letter."""
    letters = [*"abcdefgh", *(f"##{letter}" for letter in "abcdefgh")]
    return make_teacher(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters])


def test_a_run_that_stops_after_its_lessons_takes_neither_them_nor_cells_again(
    store: TokenStore, teacher_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = PretrainOptions(steps=3, tokens_per_batch=60, draws=16, warmup_steps=2)
    told: list[LessonProgress] = []

    def run(out: Path, *, resume: bool = False) -> dict[str, Tensor]:
        out.mkdir(exist_ok=True)
        state = train_bilm(
            store, out, CONFIG, options, resume=resume, teacher=teacher_dir,
            lessons=WordLessons(epochs=20), report_lessons=told.append, fading_cells=4,
        )  # fmt: skip
        return state.network.parameters

    whole = run(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(bilm, "pretrain", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(tmp_path / "stopped")
    assert (tmp_path / "stopped" / CHECKPOINT).is_file()
    lessons = len(told)
    resumed = run(tmp_path / "stopped", resume=True)
    finished = run(tmp_path / "stopped", resume=True)
    assert len(told) == lessons
    for name, value in whole.items():
        assert value.equal(resumed[name]), name
        assert value.equal(finished[name]), name


def test_a_review_teaches_the_token_layer_after_every_second_batch(store: TokenStore) -> None:
    network = network_of(store)
    targets = targets_of(store)
    review = WordReview(network, store, targets, batch=64, seed=1)
    start = readable(vectors_of(network), targets)
    before = {name: value.clone() for name, value in network.parameters.items()}
    remembered = {name: value.clone() for name, value in review.buffers.items()}
    review.after(1, 5e-3, 1.0)
    assert all(value.equal(before[name]) for name, value in network.parameters.items())
    for step in range(0, 400, 2):
        review.after(step, 5e-3, 1.0)
    assert readable(vectors_of(network), targets) > start + 0.05
    changed = {name for name, one in network.parameters.items() if not one.equal(before[name])}
    assert changed == {name for name in before if name.startswith(("char_embed", "CNN"))}
    # What it remembers are its own arrays, not what they once were.
    assert not any(value.equal(remembered[name]) for name, value in review.buffers.items())


def test_a_review_moves_half_as_far_as_the_sentences(store: TokenStore) -> None:
    network = network_of(store)
    targets = targets_of(store)
    bias = network.parameters["CNN_proj/b_proj"]
    before = bias.clone()
    WordReview(network, store, targets, batch=64, seed=1).after(0, 1e-3, 1.0)
    # Adam's first step is as long as the rate, whatever the gradient.
    torch.testing.assert_close(
        (bias - before).abs(), torch.full_like(bias, 5e-4), rtol=0.01, atol=0
    )


def test_a_resumed_run_goes_on_with_its_review(
    store: TokenStore, teacher_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def run(out: Path, steps: int, *, resume: bool = False, words: int = 32) -> dict[str, Tensor]:
        out.mkdir(exist_ok=True)
        options = PretrainOptions(
            steps=steps, tokens_per_batch=60, draws=16, warmup_steps=2, learning_rate=1e-3
        )
        with monkeypatch.context() as patch:  # a shorter run's rate would fall sooner
            patch.setattr(pretrain, "learning_rate", lambda *_: 1e-3)
            state = train_bilm(
                store, out, CONFIG, options, resume=resume, teacher=teacher_dir, review_words=words
            )
        return state.network.parameters

    whole = run(tmp_path / "whole", 6)
    run(tmp_path / "parts", 3)
    resumed = run(tmp_path / "parts", 6, resume=True)
    without = run(tmp_path / "without", 6, words=0)
    for name, value in whole.items():
        assert value.equal(resumed[name]), name
    assert not whole["CNN_proj/W_proj"].equal(without["CNN_proj/W_proj"])


def test_a_review_needs_a_teacher_and_a_token_layer_that_learns(
    store: TokenStore, tmp_path: Path
) -> None:
    frozen = PretrainOptions(steps=1, freeze_token_layer=True)
    with pytest.raises(ValueError, match="lessons on single words need a teacher"):
        train_bilm(store, tmp_path, CONFIG, PretrainOptions(steps=1), review_words=8)
    with pytest.raises(ValueError, match="and a frozen token layer"):
        train_bilm(store, tmp_path, CONFIG, frozen, review_words=8, teacher=tmp_path)


def test_lessons_need_a_teacher(store: TokenStore, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lessons on single words need a teacher"):
        train_bilm(store, tmp_path, CONFIG, PretrainOptions(steps=1), lessons=WordLessons(epochs=1))


def test_impossible_lessons_are_refused() -> None:
    with pytest.raises(ValueError, match="epochs is 0; expected more than 0"):
        WordLessons(epochs=0)
