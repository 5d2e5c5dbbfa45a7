"""The word2vec formats: against gensim's reader and writer, and everything that is refused."""

import gzip
import pickle

import numpy as np
import pytest

from elmo_infer.formats.word2vec import read_word2vec, starts_like_word2vec, write_word2vec

WORDS = ["the", "Zürich", "银行", "n't", "a_b"]


@pytest.fixture
def vectors(rng) -> np.ndarray:
    return rng.standard_normal((len(WORDS), 7)).astype(np.float32)


@pytest.mark.parametrize("name", ["v.txt", "v.vec", "v.bin", "v.txt.gz", "v.bin.gz"])
def test_what_is_written_is_read_back_to_the_bit(tmp_path, vectors, name):
    write_word2vec(tmp_path / name, WORDS, vectors)
    words, found = read_word2vec(tmp_path / name)
    assert words == WORDS
    assert found.tobytes() == vectors.tobytes()


@pytest.mark.parametrize("name", ["v.txt.gz", "v.bin"])
def test_same_vectors_give_the_same_bytes(tmp_path, vectors, name):
    write_word2vec(tmp_path / name, WORDS, vectors)
    first = (tmp_path / name).read_bytes()
    (tmp_path / name).unlink()
    write_word2vec(tmp_path / name, WORDS, vectors)
    assert (tmp_path / name).read_bytes() == first


@pytest.mark.parametrize("binary", [True, False])
def test_gensim_reads_what_we_write(tmp_path, vectors, binary):
    models = pytest.importorskip("gensim.models")
    write_word2vec(tmp_path / "v", WORDS, vectors, binary=binary)
    found = models.KeyedVectors.load_word2vec_format(str(tmp_path / "v"), binary=binary)
    assert found.index_to_key == WORDS
    assert found.vectors.tobytes() == vectors.tobytes()


@pytest.mark.parametrize("binary", [True, False])
def test_we_read_what_gensim_writes(tmp_path, vectors, binary):
    models = pytest.importorskip("gensim.models")
    theirs = models.KeyedVectors(vector_size=7)
    theirs.add_vectors(WORDS, vectors)
    theirs.save_word2vec_format(str(tmp_path / "v"), binary=binary, write_header=True)
    words, found = read_word2vec(tmp_path / "v")
    assert words == WORDS
    assert found == pytest.approx(vectors, abs=1e-6)


def test_original_c_programs_newline_after_each_vector_and_none_are_both_read(tmp_path):
    # Two numbers whose bytes include a newline and a space, the traps of the binary format.
    numbers = np.frombuffer(b"\n\n\n? ? @", dtype="<f4").copy()
    for gap in (b"", b"\n"):
        data = b"2 2\n" + b"".join(w + b" " + numbers.tobytes() + gap for w in (b"a", b"b"))
        (tmp_path / "v.bin").write_bytes(data)
        words, found = read_word2vec(tmp_path / "v.bin")
        assert words == ["a", "b"]
        assert found.tolist() == [numbers.tolist()] * 2


def test_text_with_trailing_blanks_and_no_final_newline_is_read(tmp_path):
    (tmp_path / "v.txt").write_text("2 2 \r\nab 1 2 \r\nc -3e-1 4", encoding="utf-8")
    words, found = read_word2vec(tmp_path / "v.txt")
    assert words == ["ab", "c"]
    assert found == pytest.approx(np.array([[1, 2], [-0.3, 4]]))


def test_wide_vectors_in_gzipped_text_are_taken_for_text(tmp_path, rng):
    wide = rng.standard_normal((3, 3000)).astype(np.float32)
    write_word2vec(tmp_path / "v.txt.gz", WORDS[:3], wide)
    assert read_word2vec(tmp_path / "v.txt.gz")[1].tobytes() == wide.tobytes()


def test_first_vector_of_a_repeated_word_stays_and_the_log_says_so(tmp_path, caplog):
    (tmp_path / "v.txt").write_text("3 1\na 1\nb 2\na 3\n", encoding="utf-8")
    words, found = read_word2vec(tmp_path / "v.txt")
    assert words == ["a", "b"]
    assert found.tolist() == [[1], [2]]
    assert "1 words occur twice" in caplog.text


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_is_refused_with_the_way_out(tmp_path, protocol):
    (tmp_path / "v.kv").write_bytes(pickle.dumps({"a": 1}, protocol))
    with pytest.raises(ValueError, match=r"a Python pickle .*\.save_word2vec_format"):
        read_word2vec(tmp_path / "v.kv")


def test_gensims_own_save_format_is_refused(tmp_path, vectors):
    models = pytest.importorskip("gensim.models")
    theirs = models.KeyedVectors(vector_size=7)
    theirs.add_vectors(WORDS, vectors)
    theirs.save(str(tmp_path / "v.kv"))
    with pytest.raises(ValueError, match="can run any code"):
        read_word2vec(tmp_path / "v.kv")


RECORD = b"word " + np.ones(2, "<f4").tobytes()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"no vector file\n", "the first line is .*expected 'V D'.*GloVe"),
        (b"", "the first line is b''"),
        (b"0 5\n", "header says 0 words of 5 dimensions"),
        (b"999999999 300\na 1 2\n", "more than the file can hold"),
        (b"3 2\na 1 2\nb 1 2\n", "ends after 2 words, but its header says 3"),
        (b"3 2\na 1.000 2.000\nb 1.0", "ends after 1 words"),
        (b"2 2\na 1 2\nb 1\n", "word 1 has 1 numbers, expected 2"),
        (b"2 2\na 1 2\nb 1 x\n", "word 1, 'b': could not convert"),
        (b"1 2\na 1 2\nb 1 2\n", "the file goes on after the 1 words"),
        (b"2 2\na 1 2\nb nan 2\n", "the vector of word 1, 'b', is not finite"),
        (b"1 2\na\xff 1 2\n", r"word 0 is not UTF-8: b'a\\xff"),
        (b"2 2\n" + RECORD + RECORD[:-1], "ends after 1 words, but its header says 2"),
        (b"1 2\n" + RECORD + b"\n" + RECORD, "the file goes on after the 1 words"),
        (b"2 2\n" + b"\x01" * 30_000, "no word ends within 10000 bytes"),
    ],
)
def test_damaged_files_are_refused(tmp_path, data, words):
    (tmp_path / "v").write_bytes(data)
    with pytest.raises(ValueError, match=words):
        read_word2vec(tmp_path / "v")


def test_truncated_gzip_is_refused(tmp_path, vectors):
    write_word2vec(tmp_path / "v.bin.gz", WORDS, vectors)
    data = (tmp_path / "v.bin.gz").read_bytes()
    (tmp_path / "v.bin.gz").write_bytes(data[:-20])
    with pytest.raises(ValueError, match="damaged gzip file"):
        read_word2vec(tmp_path / "v.bin.gz")


@pytest.mark.parametrize("word", ["", "two words", "no\u00a0break", "line\n"])
def test_a_word_that_the_format_cannot_hold_is_refused(tmp_path, word):
    with pytest.raises(ValueError, match="white space"):
        write_word2vec(tmp_path / "v.bin", [word], np.zeros((1, 2), np.float32))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path, vectors):
    (tmp_path / "v.bin").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"v\.bin exists"):
        write_word2vec(tmp_path / "v.bin", WORDS, vectors)
    assert (tmp_path / "v.bin").read_bytes() == b"mine"


def test_words_and_vectors_must_match(tmp_path):
    with pytest.raises(ValueError, match="2 words but 1 vectors"):
        write_word2vec(tmp_path / "v.bin", ["a", "b"], np.zeros((1, 2), np.float32))


def test_start_of_a_file_is_recognised():
    assert starts_like_word2vec(b"12 300\nthe 0.1")
    assert starts_like_word2vec(gzip.compress(b"12 300\nthe 0.1" * 50)[:64])
    assert starts_like_word2vec(pickle.dumps([1]))
    assert not starts_like_word2vec(b'{"lstm": {}}')
    assert not starts_like_word2vec(gzip.compress(b"other text"))
    assert not starts_like_word2vec(b"\x1f\x8b broken")
    assert not starts_like_word2vec(b"")


def test_glove_without_a_header_is_read(tmp_path):
    path = tmp_path / "glove.txt"
    path.write_text("the 0.1 -0.2 0.3\n. . . 0.4 0.5 0.6\nZürich 1e-3 2 3\n", encoding="utf-8")
    assert starts_like_word2vec(path.read_bytes()[:64])
    words, found = read_word2vec(path)
    assert words == ["the", ". . .", "Zürich"]
    assert found == pytest.approx(np.array([[0.1, -0.2, 0.3], [0.4, 0.5, 0.6], [1e-3, 2, 3]]))


@pytest.mark.parametrize(
    "data",
    [b"\xef\xbb\xbf2 2\na 1 2\nb 3 4\n", b"2  2\na  1  2\nb 3  4 \n", b"2 2\r\na 1 2\r\nb 3 4\r\n"],
)
def test_marks_and_blanks_of_other_programs_are_read(tmp_path, data):
    (tmp_path / "v.vec").write_bytes(data)
    assert starts_like_word2vec(data)
    words, found = read_word2vec(tmp_path / "v.vec")
    assert words == ["a", "b"]
    assert found.tolist() == [[1, 2], [3, 4]]


def binary(words, vectors, newline):
    rows = (w + b" " + v.tobytes() + newline for w, v in zip(words, vectors, strict=True))
    return f"{len(words)} {vectors.shape[1]}\n".encode() + b"".join(rows)


def test_a_word_with_a_blank_is_read_where_vectors_end_with_a_newline(tmp_path, rng):
    words = [b"the", b"New York City", b"bank", b"x"]
    vectors = rng.standard_normal((4, 7)).astype("<f4")
    (tmp_path / "v.bin").write_bytes(binary(words, vectors, b"\n"))
    found, numbers = read_word2vec(tmp_path / "v.bin")
    assert found == ["the", "New York City", "bank", "x"]
    assert numbers.tobytes() == vectors.tobytes()


def test_a_word_with_a_blank_elsewhere_never_gives_wrong_words(tmp_path):
    for seed in range(300):
        rng = np.random.default_rng(seed)
        words = [b"w%d" % i for i in range(8)]
        words[rng.integers(0, 8)] = [b"New York", b"a b", b"in 1", b"x y z"][seed % 4]
        vectors = rng.standard_normal((8, int(rng.integers(2, 9)))).astype("<f4")
        path = tmp_path / f"{seed}.bin"
        path.write_bytes(binary(words, vectors, b""))
        with pytest.raises(
            ValueError, match=r"holds a space|not UTF-8|truncated|more follows|ends"
        ):
            read_word2vec(path)


def test_a_word_cut_within_a_character_is_read(tmp_path, rng):
    vectors = rng.standard_normal((3, 4)).astype("<f4")
    words = [b"a", "Zürich".encode()[:2], b"b"]
    (tmp_path / "v.bin").write_bytes(binary(words, vectors, b"\n"))
    assert read_word2vec(tmp_path / "v.bin")[0] == ["a", "Z", "b"]


def test_fasttexts_own_format_is_named(tmp_path):
    data = b"\xba\x16\x4f\x2f" + bytes(100)
    (tmp_path / "cc.bin").write_bytes(data)
    assert starts_like_word2vec(data)
    with pytest.raises(ValueError, match=r"fastText's own binary format.*\.vec"):
        read_word2vec(tmp_path / "cc.bin")
