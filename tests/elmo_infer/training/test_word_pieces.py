"""WordPiece: which pieces a word has, and how sentences of them are laid out."""

import json
from pathlib import Path

import numpy as np
import pytest

from elmo_infer.training.word_pieces import MAX_PIECES, PieceTable, WordPieces

BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##aff", "##able", "cafe", ".", "the", "cat"]
MPNET = ["<s>", "<pad>", "</s>", "<unk>", "[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat"]


def pieces_of(directory: Path, lines: list[str], *, lowercase: bool = True) -> WordPieces:
    path = directory / "vocab.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return WordPieces(path, lowercase)


def test_pieces_are_the_longest_that_match(tmp_path: Path) -> None:
    pieces = pieces_of(tmp_path, BERT)
    assert pieces("Unaffable") == [4, 5, 6]
    assert pieces("Café.") == [7, 8]
    assert pieces("zzz") == [1]
    assert pieces("\u200b") == [1]  # nothing is left of it


def test_a_cased_teacher_keeps_capitals_and_accents(tmp_path: Path) -> None:
    pieces = pieces_of(tmp_path, [*BERT, "The", "café"], lowercase=False)
    assert (pieces("The"), pieces("the")) == ([11], [9])
    assert (pieces("café"), pieces("cafe")) == ([12], [7])


def test_mpnets_special_pieces_are_known(tmp_path: Path) -> None:
    pieces = pieces_of(tmp_path, MPNET)
    assert (pieces.start, pieces.padding, pieces.end, pieces.unknown) == (0, 1, 2, 5)


def test_tokenizer_json_does_as_well(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    model = {"type": "WordPiece", "vocab": {piece: index for index, piece in enumerate(BERT)}}
    path.write_text(json.dumps({"model": model}))
    assert WordPieces(path)("unaffable") == [4, 5, 6]
    path.write_text(json.dumps({"model": {"type": "BPE", "vocab": {}}}))
    with pytest.raises(ValueError, match="describes a tokenizer of kind 'BPE'; expected WordPiece"):
        WordPieces(path)


def test_a_vocabulary_without_special_pieces_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"found none of <s>, \[CLS\] among its 2 pieces"):
        pieces_of(tmp_path, ["the", "cat"])


def test_sentences_of_any_lengths_are_laid_out_side_by_side(tmp_path: Path) -> None:
    pieces = pieces_of(tmp_path, BERT)
    table = PieceTable.of(pieces, ["the", "unaffable", "cat"])
    np.testing.assert_array_equal(table.sizes, [1, 3, 1])
    ids, owners = table.arrange(np.array([0, 1, 2]), np.array([2, 1]), pieces)
    np.testing.assert_array_equal(ids, [[2, 9, 4, 5, 6, 3], [2, 10, 3, 0, 0, 0]])
    np.testing.assert_array_equal(owners, [[3, 0, 1, 1, 1, 3], [3, 2, 3, 3, 3, 3]])


def test_long_sentences_are_cut(tmp_path: Path) -> None:
    pieces = pieces_of(tmp_path, BERT)
    table = PieceTable.of(pieces, ["cat"])
    ids, owners = table.arrange(np.zeros(200, np.int64), np.array([200]), pieces)
    assert ids.shape == (1, MAX_PIECES)
    assert owners[0, MAX_PIECES - 2] == MAX_PIECES - 3
    assert ids[0, -1] == pieces.end
