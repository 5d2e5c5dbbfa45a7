"""Text as it comes, from the command line: embedded, searched, printed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.__main__ import main

LINES = [
    {"id": "a", "text": "They sat on the café[1] bank."},
    {"id": "b", "text": "A cafe\u0301 by O’Brien."},
    {"id": "c", "text": "İstanbul has a bank."},
    *({"id": f"same{i}", "text": "All rights of the bank reserved."} for i in range(20)),
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, tiny_elmo_dir: Path) -> str:
    directory = tmp_path_factory.mktemp("text")
    source = directory / "in.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in LINES), encoding="utf-8")
    root = str(directory / "corpus")
    assert main(["run", str(source), "--corpus", root, "--model", str(tiny_elmo_dir)]) == 0
    return root


def search(corpus: str, capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main(["search", "--corpus", corpus, "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("query", "documents", "nodes"),
    [
        ("a [café]", {"a", "b"}, {"café", "cafe\u0301"}),
        ("a [cafe\u0301]", {"a", "b"}, {"café", "cafe\u0301"}),
        ("by [O'Brien]", {"b"}, {"O’Brien"}),
    ],
)
def test_words_that_look_the_same_are_found(
    corpus: str, capsys: pytest.CaptureFixture[str], query: str, documents: set[str],
    nodes: set[str],
) -> None:  # fmt: skip
    hits = search(corpus, capsys, query)["hits"]
    assert {hit["doc_id"] for hit in hits} == documents
    assert {hit["node"] for hit in hits} == nodes  # as it stands


def test_a_dotted_capital_is_folded(corpus: str, capsys: pytest.CaptureFixture[str]) -> None:
    hits = search(corpus, capsys, "in [istanbul]", "--fold-case")["hits"]
    assert [hit["doc_id"] for hit in hits] == ["c"]


def test_identical_sentences_are_one_line_with_their_count(
    corpus: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hits = search(corpus, capsys, "all rights of the [bank] reserved", "--k", "3")["hits"]
    assert sorted(hit["copies"] for hit in hits) == [1, 1, 20]
    unfolded = search(corpus, capsys, "rights of the [bank] reserved", "--k", "9", "--unfold")
    assert [hit["copies"] for hit in unfolded["hits"]] == [1] * 9
    assert len({hit["doc_id"] for hit in unfolded["hits"]}) == 9
    whole = search(corpus, capsys, "all rights reserved")["hits"]
    assert sorted(hit["copies"] for hit in whole) == [1, 1, 1, 20]
    assert main(["search", "--corpus", corpus, "all rights reserved"]) == 0
    assert "20x same0" in capsys.readouterr().out


def test_a_stop_word_is_said_to_be_one(corpus: str, capsys: pytest.CaptureFixture[str]) -> None:
    [note] = search(corpus, capsys, "on [the] bank")["notes"]
    assert note == (
        "'the' is a stop word or punctuation, and only content words were embedded, so its"
        " occurrences cannot be searched; for those, embed into a new corpus with --tokens all"
    )


def test_brackets_are_for_queries_only(corpus: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["senses", "[bank]", "--corpus", corpus]) == 2
    assert "without brackets: sensegrep senses bank" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["search", "a [caf\udce9]"], ["senses", "caf\udce9"],
     ["search", "a [bank]", "--filter", "k=\udce9"]],
)  # fmt: skip
def test_a_byte_that_is_no_text_is_bad_usage(
    corpus: str, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main([*words, "--corpus", corpus]) == 2
    assert re.search(r"bytes that are not UTF-8 \(0xe9\).*Latin-1", capsys.readouterr().err)


def test_an_output_that_cannot_show_a_letter_is_no_failure(corpus: str) -> None:
    for flag, words in ((), "caf?"), (("--json",), "caf\\u00e9"):
        command = [
            sys.executable,
            "-m",
            "pipelines",
            "search",
            "a [cafe\u0301]",
            "--corpus",
            corpus,
        ]
        done = subprocess.run(
            [*command, *flag],
            capture_output=True,
            check=False,
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
        )
        assert done.returncode == 0, done.stderr
        assert words in done.stdout.decode("ascii")


def test_a_script_without_blanks_is_said_while_embedding_and_to_the_query(
    tmp_path: Path, tiny_elmo_dir: Path, capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    source = tmp_path / "zh.jsonl"
    source.write_text(json.dumps({"id": "x", "text": "我们去银行，然后去河边。"}) + "\n")
    root = str(tmp_path / "corpus")
    assert main(["run", str(source), "--corpus", root, "--model", str(tiny_elmo_dir)]) == 0
    assert "document x: Chinese has no spaces" in caplog.text
    assert "give --language zh" in caplog.text
    capsys.readouterr()
    assert main(["search", "--corpus", root, "我们去[银行]，然后去河边"]) == 2
    assert "embedded with --language en: Chinese" in capsys.readouterr().err


def test_a_corpus_is_never_made_unsearchable_by_adding_to_it(
    corpus: str, tmp_path: Path, tiny_elmo_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = tmp_path / "more.jsonl"
    more.write_text(json.dumps({"id": "new", "text": "One more bank."}) + "\n")
    embed = ["embed", str(more), "--corpus", corpus, "--model", str(tiny_elmo_dir)]
    for flags, said in (
        (["--pooling", "mean"], "the corpus has --pooling attention, this job mean"),
        (["--line-breaks", "lines"], "the corpus has --line-breaks auto, this job lines"),
        (["--layer-weights", "2"], "the corpus has --layer-weights"),
        (["--language", "de"], "the corpus has --language en, this job de"),
    ):
        assert main([*embed, *flags]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert "embed into a new corpus; nothing was changed" in error
    assert len(search(corpus, capsys, "a [café]")["hits"]) == 2
