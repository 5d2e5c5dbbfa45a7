"""The command search, from a query to what is printed."""

import csv
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.commands.output import shows_colour
from pipelines.commands.search import write_csv

RIVER = "They sat on the bank of the river ."
MONEY = "The bank gave her a loan ."

Run = Callable[..., tuple[int, str, str]]


def test_the_query_itself_comes_first(corpus: str, run: Run) -> None:
    query = "They sat on the [bank] of the river ."
    status, out, _ = run("search", "--corpus", corpus, query, "--json", "--k", "12")
    found = json.loads(out)
    first = found["hits"][0]
    assert status == 0
    assert first["score"] == pytest.approx(1, abs=0.02)
    assert first["left"] + first["node"] + first["right"] == RIVER
    assert first["metadata"] == {"topic": "river"}
    assert found["query"] == query
    assert set(first) >= {
        "doc_id", "sentence_index", "token_index", "vector_id", "score", "left", "node", "right",
        "sense", "metadata", "attention",
    }  # fmt: skip
    assert first["vector_id"].isdigit()
    assert sum(first["attention"]) == pytest.approx(1, abs=1e-3)
    assert len(first["attention"]) == len(first["tokens"])


def test_lines_are_aligned_and_plain_where_there_is_no_terminal(corpus: str, run: Run) -> None:
    status, out, _ = run("search", "--corpus", corpus, "on the [bank] of", "--k", "4")
    lines = out.splitlines()
    assert status == 0
    assert len({line.index("bank") for line in lines[:4]}) == 1
    assert lines[4].startswith("-- 4 of 32 compared (bank 32)")
    assert "\x1b" not in out


def test_sentences_are_searched_without_brackets(corpus: str, run: Run) -> None:
    status, out, _ = run("search", "--corpus", corpus, MONEY, "--k", "1")
    assert status == 0
    assert MONEY in out


def test_csv_has_a_head_and_a_row_a_hit(corpus: str, run: Run) -> None:
    arguments = ("search", "--corpus", corpus, "the [bank]", "--csv", "--k", "3")
    status, out, _ = run(*arguments)
    rows = list(csv.DictReader(io.StringIO(out)))
    assert status == 0
    assert [row["node"] for row in rows] == ["bank"] * 3
    assert set(json.loads(rows[0]["metadata"])) == {"topic"}


class Terminal(io.StringIO):
    """What is printed where somebody looks."""

    def isatty(self) -> bool:
        return True


def csv_row(file: io.StringIO, *, safe: bool, **texts: str) -> dict[str, str]:
    """Write a hit with some texts, and read it again."""
    fields = {"score": -0.5, "sense": None, "vector_id": "7", "sentence_index": 0}
    fields |= {"token_index": 1, "doc_id": "d", "left": "", "node": "bank", "right": "", **texts}
    hit = SimpleNamespace(to_json=lambda: fields, metadata={})

    class Found(list[Any]):
        notes = ()

    write_csv(Found([hit]), file, safe=safe)
    [row] = csv.DictReader(io.StringIO(file.getvalue()))
    return row


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t"])
def test_cells_that_a_spreadsheet_would_run_are_neutralised_if_asked(start: str) -> None:
    for safe, mark in ((False, ""), (True, "'")):
        row = csv_row(io.StringIO(), safe=safe, doc_id=f"{start}d", left=f"{start}cmd ")
        assert (row["doc_id"], row["left"]) == (f"{mark}{start}d", f"{mark}{start}cmd ")
        assert (row["score"], row["node"]) == ("-0.5", "bank")


def test_csv_on_a_terminal_commands_nothing() -> None:
    evil = "\x1b]0;evil\x07"
    assert csv_row(io.StringIO(), safe=False, left=evil)["left"] == evil
    assert csv_row(Terminal(), safe=False, left=evil)["left"] == "\ufffd]0;evil\ufffd"


def test_csv_safe_needs_csv(corpus: str, run: Run) -> None:
    status, _, err = run("search", "--corpus", corpus, "the [bank]", "--csv-safe")
    assert (status, "give --csv too" in err) == (2, True)


def test_a_line_is_an_example_for_the_next_search(corpus: str, run: Run) -> None:
    _, out, _ = run("search", "--corpus", corpus, "the [bank]", "--json", "--k", "2")
    first, second = (hit["vector_id"] for hit in json.loads(out)["hits"])
    arguments = ("--like", first, "--unlike", second, "--json", "--k", "99", "--unfold")
    status, out, _ = run("search", "--corpus", corpus, *arguments)
    ids = {hit["vector_id"] for hit in json.loads(out)["hits"]}
    assert status == 0
    assert len(ids) == 30
    assert not ids & {first, second}


def test_filters_and_context_are_read(corpus: str, run: Run) -> None:
    arguments = ("--filter", "topic=money", "--context", "1:2", "--json")
    _, out, _ = run("search", "--corpus", corpus, "the [bank]", *arguments)
    hits = json.loads(out)["hits"]
    assert {hit["metadata"]["topic"] for hit in hits} == {"money"}
    assert all(len(hit["left"].split()) <= 1 and len(hit["right"].split()) <= 2 for hit in hits)


def test_a_word_that_never_occurs_is_said(corpus: str, run: Run) -> None:
    status, out, err = run("search", "--corpus", corpus, "the [bannk]")
    assert (status, out) == (0, "")
    assert "'bannk' never occurs in this corpus; nearest forms: " in err


def test_folding_case_takes_every_spelling(corpus: str, run: Run) -> None:
    counted = {}
    for flag in ("--fold-case", "--inflections"):
        _, out, _ = run("search", "--corpus", corpus, "the [bank]", flag, "--json")
        counted[flag] = json.loads(out)["forms"]
    assert counted["--fold-case"] == {"bank": 32, "BANK": 1, "Bank": 1}
    assert counted["--inflections"] == {"bank": 32, "BANK": 1, "Bank": 1, "Banks": 1}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["the [bank"], "is not closed"),
        (["the [bank] of a [bank]"], "two words are in brackets"),
        (["the [bank of]"], "the brackets hold 2 tokens"),
        (["the [bank]", "--k", "0"], "k is 0"),
        (["the [bank]", "--filter", "topic"], "write KEY=VALUE"),
        (["the [bank]", "--context", "wide"], "write 5:10"),
        (["the [bank]", "--sort", "5R"], "--sort is '5R'"),
        (["the [bank]", "--sense", "9"], "--sense is 9, but 'bank' has"),
        ([], "or --like VECTOR_ID"),
        (["the [bank]", "--unlike", "7"], "--unlike needs --like"),
    ],
)
def test_bad_usage_exits_2_and_says_what_is_wrong(
    corpus: str, run: Run, arguments: list[str], words: str
) -> None:
    status, out, err = run("search", "--corpus", corpus, *arguments)
    assert (status, out) == (2, "")
    assert words in err


def test_another_model_is_refused(corpus: str, run: Run, make_elmo: Callable[..., Path]) -> None:
    other = str(make_elmo(seed=5))
    status, _, err = run("search", "--corpus", corpus, "the [bank]", "--model", other)
    assert status == 1
    assert "is not the model that the corpus was embedded with" in err


@pytest.fixture
def bundled(
    tiny_elmo_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:  # fmt: skip
    """Where bundled models are; there is one, `small`."""
    models = tmp_path / "models"
    shutil.copytree(tiny_elmo_dir, models / "small")
    monkeypatch.setattr("elmo_infer.reading.MODELS", models)
    return models


@pytest.fixture
def outgrown(bundled: Path, tmp_path: Path, run: Run, make_elmo: Callable[..., Path]) -> str:
    """A corpus of a bundled model whose weights have been replaced since."""
    source, root = tmp_path / "in.jsonl", str(tmp_path / "corpus")
    texts = [RIVER, MONEY, "The bank was closed ."]
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    assert run("run", str(source), "--corpus", root, "--model", "small")[0] == 0
    _, out, _ = run("search", "--corpus", root, "on the [bank] of", "--json")
    (tmp_path / "expected.json").write_text(out)
    (bundled / "small").rename(bundled / "small-0.1")
    shutil.copytree(make_elmo(seed=5), bundled / "small")
    shutil.copytree(make_elmo(seed=6), bundled / "small-0.0")
    return root


def test_a_corpus_of_earlier_weights_is_searched_with_them(
    outgrown: str, tmp_path: Path, run: Run
) -> None:
    expected = json.loads((tmp_path / "expected.json").read_text())
    status, out, _ = run("search", "--corpus", outgrown, "on the [bank] of", "--json")
    found = json.loads(out)
    assert status == 0
    assert len(found["hits"]) == 3
    assert found["hits"] == expected["hits"]
    [note] = [note for note in found["notes"] if "weights" in note]
    assert "earlier weights of small" in note
    assert "bundled as small-0.1" in note
    assert "embed its documents again" in note


def test_a_corpus_of_weights_that_are_gone_says_what_to_do(
    outgrown: str, bundled: Path, run: Run
) -> None:
    shutil.rmtree(bundled / "small-0.1")
    status, _, err = run("search", "--corpus", outgrown, "the [bank]")
    assert status == 1
    assert "is not the model that the corpus was embedded with" in err
    assert "with --model, or embed the corpus again" in err


def test_searching_imports_no_beam_and_no_scikit_learn(corpus: str) -> None:
    script = (
        "import sys; from pipelines.__main__ import main;"
        f"main(['search', '--corpus', {corpus!r}, 'the [bank]', '--json']);"
        "print(sorted({'apache_beam', 'sklearn', 'matplotlib', 'gensim'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_remote_index_is_searched_through_a_cache(corpus: str, tmp_path: Path, run: Run) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.put(corpus, "/remote", recursive=True)
    cache = tmp_path / "cache"
    arguments = ("search", "the [bank]", "--json", "--cache-dir", str(cache))
    _, local, _ = run(*arguments, "--corpus", corpus)
    status, remote, _ = run(*arguments, "--corpus", "memory://remote")
    assert status == 0
    assert json.loads(remote)["hits"] == json.loads(local)["hits"]
    assert any(path.name.endswith(".faiss") for path in cache.iterdir())
    memory.rm("/remote", recursive=True)


def test_colours_and_width_are_those_that_the_terminal_wants(
    corpus: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", terminal := Terminal())
    assert shows_colour(terminal)
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        with monkeypatch.context() as changed:
            changed.setenv(name, value)
            assert not shows_colour(terminal)
    monkeypatch.undo()
    monkeypatch.setenv("COLUMNS", "40")
    _, out, _ = run("search", "--corpus", corpus, "the [bank]", "--k", "3", "--no-senses")
    lines = [line for line in out.splitlines() if not line.startswith("--")]
    assert len(lines) == 3
    assert max(map(len, lines)) <= 40


def test_a_model_that_cannot_be_loaded_is_the_one_that_was_given(corpus: str, run: Run) -> None:
    status, _, err = run("search", "--corpus", corpus, "the [bank]", "--model", "nowhere")
    assert status == 1
    assert "the model nowhere cannot be loaded: no model 'nowhere'" in err
    assert "give the path of the corpus's model with --model PATH" in err
    assert "was embedded with the model nowhere" not in err


def test_a_device_that_is_not_there_is_no_fault_of_the_model(corpus: str, run: Run) -> None:
    status, _, err = run("search", "--corpus", corpus, "the [bank]", "--device", "cuda:99")
    assert status == 1
    assert "error: device 'cuda:99' was not found" in err
    assert "choose cpu, or auto" in err


def test_a_lost_index_is_built_again_by_the_command_that_the_error_names(
    corpus: str, run: Run, tmp_path: Path
) -> None:
    copy = str(tmp_path / "corpus")
    shutil.copytree(corpus, copy)
    shutil.rmtree(Path(copy) / "indexes")
    status, out, err = run("verify", "--corpus", copy)
    assert status == 1
    assert "indexes" in err
    assert f": 1 fault\nbuild the index again: sensegrep index --rebuild --corpus {copy}\n" in out
    assert "backup" not in out
    status, _, err = run("search", "--corpus", copy, "the [bank]")
    assert "build it again: sensegrep index --rebuild --corpus DIR" in err
    assert run("index", "--rebuild", "--corpus", copy)[0] == 0
    assert run("search", "--corpus", copy, "the [bank]")[0] == 0


def test_an_empty_path_of_a_corpus_is_told(run: Run) -> None:
    status, _, err = run("search", "--corpus", "", "the [bank]")
    assert (status, "the path of the corpus is empty; give --corpus DIR" in err) == (1, True)
