"""Large inputs end, in time that grows with their size and within a stated memory.

Each command is a process of its own, with a tiny model; its peak is what the system says of it.
"""

import gzip
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.errors import UsageError

sys.path.insert(0, str(Path(__file__).parent))
from recording import RESULTS, record

pytestmark = pytest.mark.benchmark
WORDS = [f"word{n}{'x' * (n % 9)}" for n in range(5000)]
PROGRAM = (
    "import resource, sys; from pipelines.__main__ import main;"
    "status = main(sys.argv[1:], own_process=True);"
    "print(status, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
)
Run = Callable[..., dict[str, Any]]
Table = Callable[[str, dict[str, Any]], None]


@pytest.fixture
def run(tmp_path: Path, tiny_elmo_dir: Path) -> Run:
    """A function that runs a command on a corpus; returns its status, seconds, peak and output."""

    def run(command: str, *words: object, open_files: int | None = None) -> dict[str, Any]:
        def limit() -> None:
            if open_files is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))

        model = () if command in ("index", "compact", "verify") else ("--model", tiny_elmo_dir)
        started = time.monotonic()
        words = (*words, "--corpus", tmp_path / "corpus", *model)
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, command, *map(str, words)],
            capture_output=True,
            text=True,
            check=True,
            preexec_fn=limit,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        *lines, last = done.stdout.splitlines()
        status, kilobytes = last.split()
        return {
            "status": int(status),
            "seconds": round(time.monotonic() - started, 1),
            "megabytes": int(kilobytes) // 1024,
            "output": "\n".join([*lines, done.stderr]),
        }

    return run


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[Table]:
    """A function that adds a row. Rows of tests that did not run stay as they were recorded."""
    path = RESULTS / "bounds.json"
    rows: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["values"]

    def add(name: str, found: dict[str, Any]) -> None:
        seen = {key: value for key, value in found.items() if key != "output"}
        rows[name] = {**seen, "date": f"{datetime.now(UTC):%Y-%m-%d}"}
        print("\n" + json.dumps({"input": name, **seen}))

    failed = request.session.testsfailed
    yield add
    if request.session.testsfailed == failed:
        dates = sorted({row["date"] for row in rows.values()})
        record(
            "bounds",
            rows,
            title="Large records, many files, many segments",
            columns=["input", "seconds", "peak memory, MB"],
            rows=[[name, row["seconds"], row.get("megabytes")] for name, row in rows.items()],
            notes=[
                "each command is a process of its own, with the tests' tiny model; the smallest"
                " figure of memory is that of the process that starts them: less is not told",
                *([] if len(dates) == 1 else [f"measured from {dates[0]} to {dates[-1]}"]),
            ],
        )


def text_of(size: int, end: str = ". ") -> str:
    """Return a text of so many characters; every sixteenth word ends a sentence."""
    line = "".join(f"{word}{end if n % 16 == 15 else ' '}" for n, word in enumerate(WORDS))
    return line * (size // len(line))


@pytest.mark.parametrize(
    ("megabytes", "first"), [(5, ""), (20, ""), (200, ""), (200, "\N{MOUNTAIN}")]
)
def test_one_document_of_many_megabytes(
    megabytes: int, first: str, tmp_path: Path, run: Run, table: Table
) -> None:
    """With a character beyond Latin-1 each character of the text takes four bytes."""
    source = tmp_path / "one.jsonl"
    text = first + text_of(megabytes << 20)
    source.write_text(json.dumps({"id": "one", "text": text}, ensure_ascii=False))
    found = run("embed", source, "--tokens", "none")
    wide = " with one character outside of Latin-1" if first else ""
    table(f"a document of {megabytes} MB{wide}, `--tokens none`", found)
    assert found["status"] == 0, found["output"]
    assert found["megabytes"] < (3500 if first else 2000)


def test_document_of_more_tokens_than_a_part_may_have(
    tmp_path: Path, run: Run, table: Table
) -> None:
    (tmp_path / "in.txt").write_text("a b c d. " * (9 << 20))
    (tmp_path / "next.txt").write_text("A good one.")
    found = run("embed", tmp_path / "in.txt", tmp_path / "next.txt")
    table("a text of 47 million tokens, rejected, beside a good one", found)
    assert found["status"] == 3
    assert "embedded 1 of 2 documents" in found["output"]
    [rejects] = (tmp_path / "corpus").rglob("rejects/*.parquet")
    assert pq.read_table(rejects)["reason"].to_pylist() == ["too-large"]
    assert found["megabytes"] < 1500


@pytest.mark.parametrize("suffix", ["jsonl", "txt", "csv"])
def test_line_of_a_gigabyte_and_a_half_out_of_gzip(
    suffix: str, tmp_path: Path, run: Run, table: Table
) -> None:
    source = tmp_path / f"in.{suffix}.gz"
    with gzip.open(source, "wb", 1) as file:
        file.write(b"id,text\n1," if suffix == "csv" else b'{"id": "x", "text": "')
        for _ in range(1500):
            file.write(b"a b c d " * 131_072)
        file.write(b'"}\n{"id": "y", "text": "A good one."}\n')
    found = run("embed", source, "--max-reject-fraction", 1)
    table(f"a line of 1.5 GB in .{suffix}.gz, rejected", found)
    assert found["status"] == 3
    assert "too-large" in found["output"]
    assert found["megabytes"] < 1500


def test_json_of_a_hundred_megabytes_of_lists(tmp_path: Path, run: Run, table: Table) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "x", "a": [' + "[]," * (33 << 20) + "[]]}\n")
    found = run("embed", tmp_path / "in.jsonl", "--max-reject-fraction", 1)
    table("100 MB of empty lists in a JSON record, rejected", found)
    assert "too-large" in found["output"]
    assert found["megabytes"] < 1500


def test_ten_thousand_files(tmp_path: Path, run: Run, table: Table) -> None:
    (tmp_path / "in").mkdir()
    for n in range(10_000):
        text = f"Document {n} stands by the bank of the river. It ends here.\n"
        (tmp_path / f"in/{n:05d}.txt").write_text(text)
    for name in ("of one document, 256 open files at most", "again, nothing new"):
        found = run("embed", tmp_path / "in/*.txt", open_files=256)
        table(f"10,000 files {name}", found)
        assert found["status"] == 0, found["output"]
    assert "unchanged: 10,000" in found["output"]


def test_three_hundred_segments(tmp_path: Path, run: Run, table: Table) -> None:
    """Each command with 128 open files at most; one file of each segment would not do."""
    source = tmp_path / "in.jsonl"
    rows = [{"id": n, "text": f"Document {n} stands by the bank of a river."} for n in range(301)]
    query = "They sat on the [bank] of the river"
    every = "`embed`, a commit for each document"
    steps: list[tuple[str, tuple[Any, ...], str]] = [
        ("embed", (source, "--commit-every", 1), ""),
        ("index", (), ""),
        ("embed", (source, "--commit-every", 1), f"128 open files at most: {every}"),
        ("search", (query, "--k", 3), "`search` before they are indexed"),
        ("index", (), "`index`"),
        ("search", (query, "--k", 3), "`search` after that"),
        ("verify", (), "`verify`"),
        ("compact", (), "`compact`"),
    ]
    for step, (command, words, said) in enumerate(steps):
        # One segment is indexed, then three hundred follow and are searched without an index.
        source.write_text("\n".join(map(json.dumps, rows if step else rows[:1])) + "\n")
        found = run(command, *words, open_files=128)
        if said:
            table(f"300 segments{', ' if step == 2 else ': '}{said}", found)
        assert found["status"] == 0, found["output"]


@pytest.mark.parametrize("tokens", [200_000, 2_000_000])
def test_tokens_without_a_sentence_end(tokens: int, tmp_path: Path, run: Run, table: Table) -> None:
    (tmp_path / "in.txt").write_text(" ".join(WORDS[n * 31 % 5000] for n in range(tokens)))
    found = run("embed", tmp_path / "in.txt")
    table(f"{tokens:,} tokens without a sentence end", found)
    assert found["status"] == 0, found["output"]
    assert f"{tokens:,} tokens" in found["output"]
    assert found["megabytes"] < 1500


def test_query_of_a_megabyte_in_python(tmp_path: Path, run: Run, table: Table) -> None:
    from pipelines import Corpus

    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps({"id": 1, "text": "They sat by the bank."}) + "\n")
    for words in (("embed", source), ("index",)):
        assert run(*words)["status"] == 0
    corpus = Corpus.open(tmp_path / "corpus")
    query = "They sat by the [bank] of a river. " + text_of(1 << 20)
    corpus.search("the [bank]")
    started = time.monotonic()
    assert len(corpus.search(query)) == 1
    marked = round(time.monotonic() - started, 2)
    with pytest.raises(UsageError, match=r"the query has [0-9,]+ tokens, expected at most 8,192"):
        corpus.search(query.replace("[bank]", "bank"))
    with pytest.raises(UsageError, match=r"is not closed") as refused:
        corpus.search("[" + query.replace("[bank]", "bank"))
    assert len(str(refused.value)) < 500
    seconds = {"marked": marked, "all": round(time.monotonic() - started, 2)}
    table("a query of a megabyte in Python, a word in brackets", {"seconds": seconds["marked"]})
    assert seconds["all"] < 60
