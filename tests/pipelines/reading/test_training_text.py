"""Training text: documents in turn, and files that are no text."""

import bz2
import gzip
import lzma
from pathlib import Path

import pytest
import zstandard

from pipelines.errors import UsageError
from pipelines.reading.training_text import check_training_files, read_training_documents
from pipelines.text.tokenizer import Tokenizer

COMPRESS = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


def read(paths: list[str], shares: list[float] | None = None) -> list[list[list[str]]]:
    documents = read_training_documents(paths, Tokenizer("en"), shares)
    return [list(document) for document in documents]


def test_empty_lines_part_documents_and_paragraphs_part_sentences(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("It rained. We left.\nThen sun\n\n\nA second one.\n", encoding="utf-8")
    assert read([str(path)]) == [
        [["It", "rained", "."], ["We", "left", "."], ["Then", "sun"]],
        [["A", "second", "one", "."]],
    ]


def test_files_are_read_in_turn_by_their_shares(tmp_path: Path) -> None:
    for name, count in (("a", 4), ("b", 2)):
        text = "\n\n".join(f"{name}{number}" for number in range(count))
        with gzip.open(tmp_path / f"{name}.txt.gz", "wt", encoding="utf-8") as file:
            file.write(text)
    paths = [str(tmp_path / "a.txt.gz"), str(tmp_path / "b.txt.gz")]
    order = [document[0][0] for document in read(paths, [2.0, 1.0])]
    assert order == ["a0", "a1", "b0", "a2", "a3", "b1"]


def test_shares_must_be_one_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("word")
    with pytest.raises(UsageError, match="--shares has 2 numbers for 1 input files"):
        read([str(path)], [1.0, 2.0])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "training text is empty"),
        (b" \n\n ", "training text is empty"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\xff\xfe", "is not UTF-8 text"),
    ],
)
def test_files_that_are_no_text_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words):
        check_training_files([str(path)])


def test_text_cut_inside_a_code_point_is_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("x" + "é" * 40_000, encoding="utf-8")  # byte 65,536 falls inside an é
    check_training_files([str(path)])


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"training text not found: .*absent\.txt"):
        check_training_files([str(tmp_path / "absent.txt")])


def test_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is a directory; name its files, as in .*/\*\.txt"):
        check_training_files([str(tmp_path)])


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_compressed_text_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(COMPRESS[suffix](b"One line here.\n\nAnother one.\n"))
    assert read([str(path)]) == [[["One", "line", "here", "."]], [["Another", "one", "."]]]


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_compressed_text_that_ends_too_early_is_refused(tmp_path: Path, suffix: str) -> None:
    text = " ".join(str(number * number) for number in range(100_000)).encode()
    whole = COMPRESS[suffix](text.replace(b" 9", b"\n\n9"))
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(whole[: len(whole) * 9 // 10])
    with pytest.raises(
        ValueError, match=r"a\.txt.* cannot be read to its end: .* is incomplete; fetch or write"
    ):
        read([str(path)])


def test_text_that_is_not_compressed_as_named_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(b"Plain text.\n")
    with pytest.raises(
        ValueError, match=r"a\.txt\.gz cannot be read to its end: .*begins with b'Plain"
    ):
        check_training_files([str(path)])


def test_standard_input_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot come from standard input"):
        check_training_files(["-"])
