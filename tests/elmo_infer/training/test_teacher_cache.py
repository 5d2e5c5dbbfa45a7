"""What a teacher makes of a text is kept: the same however it was read, and refused for another."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from elmo_infer.training import teacher_cache as module
from elmo_infer.training.discourse import in_context
from elmo_infer.training.forms import WordForms
from elmo_infer.training.teacher import Teacher
from elmo_infer.training.teacher_cache import CacheReports, Taught, TeacherCache, teacher_cache
from elmo_infer.training.token_store import TokenStore

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "dog", "sat", "ran", "."]


@pytest.fixture
def teacher(make_teacher: Callable[..., Path]) -> Teacher:
    return Teacher.open(make_teacher(PIECES, layers=3))


@pytest.fixture
def cache_of(
    teacher: Teacher, store: TokenStore, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., TeacherCache]:
    monkeypatch.setattr(module, "PIECES_AT_ONCE", {"cpu": 40})
    forms = WordForms.of(store.types, lambda word: word.isalnum())

    def make(directory: Path, taught: Taught | None = None, **more: object) -> TeacherCache:
        senses = np.eye(32, 6, dtype=np.float32)
        return teacher_cache(
            teacher, store, forms.taught, taught or Taught(layers=(1, 3)), directory,
            senses=senses, **more,  # type: ignore[arg-type]
        )  # fmt: skip

    return make


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_every_taught_word_is_read_in_its_sentence(
    cache_of: Callable[..., TeacherCache], teacher: Teacher, store: TokenStore, tmp_path: Path
) -> None:
    cache = cache_of(tmp_path / "cache")
    sentences = list(store)
    assert (
        (cache.rows >= 0).sum() == len(cache.words) == sum(t != "." for s in sentences for t in s)
    )
    for number in (0, 57, len(sentences) - 1):
        states, whole = teacher.states([sentences[number]], (1, 3))
        torch.testing.assert_close(
            torch.from_numpy(cache.sentences[number].astype(np.float32)), whole[0],
            atol=2e-3, rtol=0,
        )  # fmt: skip
        taught = in_context(states[0], whole.expand(len(states[0]), -1)) @ torch.eye(32, 6)
        expected = F.normalize(taught, dim=1)
        first, last = store.sentences[number : number + 2]
        rows = cache.rows[first:last]
        found = torch.from_numpy(cache.words[rows[rows >= 0]].astype(np.float32))
        torch.testing.assert_close(found, expected[torch.from_numpy(rows >= 0)], atol=2e-3, rtol=0)


def test_a_reading_that_broke_off_ends_with_the_same_bytes(
    cache_of: Callable[..., TeacherCache], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache_of(tmp_path / "whole")
    monkeypatch.setattr(module, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(module, "REPORT_SECONDS", 0.0)

    def stop(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache_of(tmp_path / "parts", reports=CacheReports(text=stop))
    assert json.loads((tmp_path / "parts" / "cache.json").read_text())["parts"] > 0
    told: list[int] = []
    cache_of(tmp_path / "parts", reports=CacheReports(text=lambda done, _: told.append(done)))
    assert told[0] > 60  # it did not begin anew
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


def test_a_finished_cache_is_read_again_by_nobody(
    cache_of: Callable[..., TeacherCache], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cache_of(tmp_path / "cache")
    monkeypatch.setattr(Teacher, "states_of", lambda *_: pytest.fail("it has been read"))
    again = cache_of(tmp_path / "cache")
    np.testing.assert_array_equal(first.words, again.words)


def test_a_cache_of_something_else_is_refused(
    cache_of: Callable[..., TeacherCache], tmp_path: Path
) -> None:
    cache_of(tmp_path / "cache")
    with pytest.raises(ValueError, match=r"with other options: its layers is \[1, 3\], exp"):
        cache_of(tmp_path / "cache", Taught(layers=(2,)))
    shutil.rmtree(tmp_path / "cache")
    cache_of(tmp_path / "cache", Taught(layers=(2,)))


def test_a_share_of_the_sentences_is_read(
    cache_of: Callable[..., TeacherCache], store: TokenStore, tmp_path: Path
) -> None:
    cache = cache_of(tmp_path / "cache", Taught(layers=(1,), share=0.5))
    read = np.asarray(cache.sentences).any(1)
    assert 0.3 < read.mean() < 0.7
    first = store.sentences[:-1][~read]
    assert (cache.rows[first] == -1).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"share": 0.0}, "share is 0.0; expected above 0, at most 1"),
        ({"sentence_share": -1.0}, "sentence_share is -1.0; expected 0 or more"),
    ],
)
def test_impossible_shares_are_refused(options: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Taught(**options)  # type: ignore[arg-type]


def test_layers_that_the_teacher_has_not_are_refused(
    cache_of: Callable[..., TeacherCache], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="has no layer 4; expected numbers from 1 to 3"):
        cache_of(tmp_path / "cache", Taught(layers=(2, 4)))


def test_no_room_is_seen_before_anything_is_read(
    cache_of: Callable[..., TeacherCache], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: free)
    with pytest.raises(OSError, match=r"no room in .*give a smaller share of the text"):
        cache_of(tmp_path / "cache")
