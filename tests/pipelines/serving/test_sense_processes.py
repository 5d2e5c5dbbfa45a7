"""Senses from a process of their own: as induced here, kept beside the index; and when it dies."""

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipelines.api import Corpus
from pipelines.index.reader import OpenIndex
from pipelines.search.occurrences import choose_forms
from pipelines.senses.service import induce_senses, kept_senses
from pipelines.serving.sense_processes import SenseProcesses


def forget_senses(corpus: Path) -> None:
    for path in corpus.glob("indexes/*/senses/*"):
        path.unlink()


@pytest.fixture
def index(own_corpus: str) -> OpenIndex:
    """An index without senses beside it."""
    forget_senses(Path(own_corpus))
    return OpenIndex.open(Corpus.open(own_corpus))


@pytest.fixture
def processes() -> Iterator[SenseProcesses]:
    """One process at most."""
    made = SenseProcesses(count=1)
    yield made
    made.close()


@pytest.mark.slow  # a process is started
def test_senses_are_those_induced_here_and_are_kept(
    index: OpenIndex, processes: SenseProcesses
) -> None:
    forms = choose_forms(index, "bank")
    found, expected = processes(index, forms), induce_senses(index, forms)
    assert found.to_json() == expected.to_json()
    np.testing.assert_array_equal(found.numbers, expected.numbers)
    np.testing.assert_array_equal(found.vector_ids, expected.vector_ids)
    np.testing.assert_array_equal(found.rule.weights, expected.rule.weights)
    kept = kept_senses(index, forms)
    assert kept is not None
    assert kept.to_json() == expected.to_json()
    assert processes.waiting == 0


def test_a_rare_word_is_told_without_a_process(index: OpenIndex, processes: SenseProcesses) -> None:
    forms = choose_forms(index, "muddy")
    assert forms.indexed < 10
    assert processes(index, forms).to_json() == induce_senses(index, forms).to_json()
    assert not list(Path(index.corpus.root).glob("indexes/*/senses/*"))


def test_where_no_process_can_be_had_senses_are_induced_here_and_it_is_said(
    index: OpenIndex,
    processes: SenseProcesses,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no semaphores")

    monkeypatch.setattr("pipelines.serving.sense_processes.ProcessPoolExecutor", refuse)
    with caplog.at_level(logging.WARNING):
        processes.prepare(index.corpus)
        found = processes(index, choose_forms(index, "bank"))
    assert caplog.text.count("OSError: no semaphores") == 2
    assert found.to_json() == induce_senses(index, choose_forms(index, "bank")).to_json()


@pytest.mark.slow  # two processes are started
def test_a_process_that_is_killed_is_said_and_started_again(
    index: OpenIndex, processes: SenseProcesses, caplog: pytest.LogCaptureFixture
) -> None:
    forms = choose_forms(index, "bank")
    processes(index, forms)
    forget_senses(Path(index.corpus.root))
    [child] = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()[-1:]
    os.kill(int(child), signal.SIGKILL)
    with caplog.at_level(logging.WARNING):
        found = processes(index, forms)
    assert found.to_json() == induce_senses(index, forms).to_json()
    assert "could not be induced in a process of their own" in caplog.text
    assert "bank" not in caplog.text
    forget_senses(Path(index.corpus.root))
    caplog.clear()
    assert processes(index, forms).to_json() == found.to_json()
    assert not caplog.text
