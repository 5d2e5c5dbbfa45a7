"""Readers of the evaluation sets: good files, faulty files, the real ones."""

import gzip
import json
from pathlib import Path

import pytest

from pipelines.evaluation.readers import choose_sets, read_set
from pipelines.evaluation.sets import (
    Context,
    UsagePair,
)
from tests.pipelines.evaluation.written_sets import json_lines, tokenize, write


def test_sense_set_keeps_tokens_as_they_are(tmp_path):
    row = {"id": "a.1", "word": "bank", "index": 1, "sense": 0, "tokens": ["the", "bank", "u.s."]}
    write(tmp_path / "coarsewsd20/train.jsonl.gz", json_lines(row, {**row, "id": "a.2"}))
    found = read_set(tmp_path, "coarsewsd20", tokenize)
    assert found.occurrences[0].context == Context(("the", "bank", "u.s."), 1)
    assert found.occurrences[0].sense == "0"


def test_repeated_ids_are_refused(tmp_path):
    row = {"id": "a.1", "word": "bank", "index": 0, "sense": 0, "tokens": ["bank"]}
    write(tmp_path / "coarsewsd20/train.jsonl.gz", json_lines(row, row))
    with pytest.raises(ValueError, match="an id occurs twice"):
        read_set(tmp_path, "coarsewsd20", tokenize)


def test_target_outside_the_sentence_is_refused_with_its_line(tmp_path):
    good = {"id": "a.1", "word": "bank", "index": 0, "sense": 0, "tokens": ["bank"]}
    bad = {**good, "id": "a.2", "index": 1}
    write(tmp_path / "senseval_4words/x.jsonl.gz", json_lines(good, bad))
    with pytest.raises(ValueError, match=r"x\.jsonl\.gz:2: target position 1 outside the 1 tokens"):
        read_set(tmp_path, "senseval", tokenize)


def test_missing_field_is_named(tmp_path):
    write(tmp_path / "coarsewsd20/train.jsonl.gz", json_lines({"id": 1, "word": "a", "index": 0}))
    with pytest.raises(ValueError, match=r"train.jsonl.gz:1: no field 'sense'; fields found"):
        read_set(tmp_path, "coarsewsd20", tokenize)


def write_wic(folder: Path, *, gold: str = "F\n", positions: str = "2-1") -> None:
    for part in ("train", "dev"):
        line = f"board\tN\t{positions}\tRoom and board .\tHe nailed .\n"
        write(folder / f"wic/{part}.data.txt", line)
        write(folder / f"wic/{part}.gold.txt", gold)


def test_wic_pairs(tmp_path):
    write_wic(tmp_path)
    found = read_set(tmp_path, "wic", tokenize)
    expected = UsagePair(
        id="dev.0",
        left=Context(("Room", "and", "board", "."), 2),
        right=Context(("He", "nailed", "."), 1),
        gold=0.0,
    )
    assert found.pairs == (expected,)
    assert [pair.id for pair in found.train] == ["train.0"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gold": "F\nT\n"}, "1 pairs in dev.data.txt, 2 in dev.gold.txt"),
        ({"gold": "yes\n"}, "gold label 'yes', expected T or F"),
        ({"positions": "2"}, "positions '2', expected as in 3-0"),
        ({"positions": "9-1"}, "target position 9 outside the 4 tokens"),
    ],
)
def test_malformed_wic_is_refused(tmp_path, change, words):
    write_wic(tmp_path, **change)
    with pytest.raises(ValueError, match=words):
        read_set(tmp_path, "wic", tokenize)


def test_mcl_wic_finds_the_token_at_the_characters(tmp_path):
    row = {
        "id": "dev.zh-zh.0",
        "sentence1": "First one. A play (on words).",
        "start1": "13",
        "end1": "17",
        "sentence2": "They play.",
        "start2": "5",
        "end2": "9",
    }
    write(tmp_path / "mcl_wic/dev.zh-zh.data.json.gz", json.dumps([row]))
    gold = json.dumps([{"id": row["id"], "tag": "T"}])
    write(tmp_path / "mcl_wic/dev.zh-zh.gold.json.gz", gold)
    pair = read_set(tmp_path, "mcl_wic_zh", tokenize).pairs[0]
    assert pair.left == Context(("A", "play", "(", "on", "words", ")", "."), 1)
    assert pair.right == Context(("They", "play", "."), 1)
    assert pair.gold == 1.0


def test_scws_takes_the_marked_word_in_its_sentence(tmp_path):
    left = "Before it . The <b> bank </b> of the river . After it"
    fields = ["7", "bank", "n", "money", "n", left, "<b>money</b> talks", "3.5", "1", "6"]
    write(tmp_path / "scws/dev.tsv.gz", "\t".join(fields) + "\n")
    pair = read_set(tmp_path, "scws", tokenize).pairs[0]
    assert pair.left == Context(("The", "bank", "of", "the", "river", "."), 1)
    assert pair.right == Context(("money", "talks"), 0)
    assert pair.gold == 3.5


def test_scws_without_a_mark_is_refused(tmp_path):
    fields = ["7", "bank", "n", "money", "n", "no mark", "<b>money</b>", "3.5"]
    write(tmp_path / "scws/dev.tsv.gz", "\t".join(fields) + "\n")
    with pytest.raises(ValueError, match=r"dev\.tsv\.gz:1: no target between <b> and </b>"):
        read_set(tmp_path, "scws", tokenize)


def test_stsb_keeps_quotes_and_joins_what_the_tokenizer_splits(tmp_path):
    line = 'g\tf\ty\t1\t2.5\t"Go. Now," he said.\tHe said it.\n'
    write(tmp_path / "stsb_en/sts-dev.csv", line)
    found = read_set(tmp_path, "stsb", tokenize)
    assert found.left == (('"', "Go", ".", "Now", ",", '"', "he", "said", "."),)
    assert found.gold == (2.5,)


def test_sick_reads_by_column_name(tmp_path):
    text = "pair_ID\trelatedness_score\tsentence_A\tsentence_B\n1\t4.5\tA dog\tA cat\n"
    write(tmp_path / "sick/SICK_train.txt", text)
    found = read_set(tmp_path, "sick", tokenize)
    assert (found.left, found.right, found.gold) == ((("A", "dog"),), (("A", "cat"),), (4.5,))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pair_ID\tsentence_A\tsentence_B\n", "no column 'relatedness_score'"),
        (
            "sentence_A\tsentence_B\trelatedness_score\na\tb\thigh\n",
            "SICK_train.txt:2: 'high' where a number was expected",
        ),
        ("sentence_A\tsentence_B\trelatedness_score\na\tb\n", "2 tab-separated fields"),
    ],
)
def test_malformed_sick_is_refused(tmp_path, text, words):
    write(tmp_path / "sick/SICK_train.txt", text)
    with pytest.raises(ValueError, match=words):
        read_set(tmp_path, "sick", tokenize)


def write_collection(folder: Path, qrels: str) -> None:
    documents = [
        {"id": "1", "title": "wing .", "text": "wing . it flies ."},
        {"id": "2", "title": "", "text": ""},
        {"id": "3", "title": "Heat", "text": "It burns."},
    ]
    write(folder / "docs.jsonl.gz", json_lines(*documents))
    write(folder / "queries.jsonl", json_lines({"id": "1", "text": "a"}, {"id": "3", "text": "b"}))
    write(folder / "qrels.tsv", qrels)


def test_cranfield_turns_codes_into_gains(tmp_path):
    write_collection(tmp_path / "cranfield", "1\t1\t2\n1\t3\t-1\n3\t2\t-1\n")
    found = read_set(tmp_path, "cranfield", tokenize)
    assert found.documents == (
        (("wing", "."), ("it", "flies", ".")),  # the text repeats the title
        (),
        (("Heat",), ("It", "burns", ".")),
    )
    assert found.queries == ((("a",),),)  # query 3 has no relevant document
    assert found.gains == ({0: 3.0},)


def test_cisi_is_binary(tmp_path):
    write_collection(tmp_path / "cisi", "1\t1\n3\t3\n3\t1\n")
    assert read_set(tmp_path, "cisi", tokenize).gains == ({0: 1.0}, {2: 1.0, 0: 1.0})


def test_judgement_of_an_unknown_document_is_refused(tmp_path):
    write_collection(tmp_path / "cisi", "1\t9\n")
    with pytest.raises(ValueError, match=r"qrels\.tsv:1: document '9' is not in docs"):
        read_set(tmp_path, "cisi", tokenize)


def test_missing_file_is_named(tmp_path):
    (tmp_path / "wic").mkdir()
    with pytest.raises(ValueError, match=r"set 'wic' is incomplete: no file .*dev\.gold\.txt"):
        read_set(tmp_path, "wic", tokenize)


@pytest.mark.parametrize(
    ("name", "file"),
    [("stsb_zh", "sts-b-dev.txt.gz"), ("lcqmc_zh", "dev.txt.gz"), ("afqmc_zh", "train.txt.gz")],
)
def test_chinese_pairs_are_read(tmp_path, name, file):
    (tmp_path / name).mkdir()
    (tmp_path / name / file).write_bytes(gzip.compress("花呗 账单\t下月 花呗\t1\n".encode()))
    found = read_set(tmp_path, name, tokenize)
    assert found.left == (("花呗", "账单"),)
    assert found.right == (("下月", "花呗"),)
    assert found.gold == (1.0,)


def test_all_sets_of_the_language_that_are_there_are_chosen(tmp_path):
    for folder in ("wic", "mcl_wic", "stsb_zh"):
        (tmp_path / folder).mkdir()
    assert choose_sets(tmp_path, [], "en") == ("wic", "mcl_wic")
    assert choose_sets(tmp_path, [], "zh") == ("mcl_wic_zh", "stsb_zh")
    assert choose_sets(tmp_path, ["stsb_zh", "wic", "wic"], "en") == ("stsb_zh", "wic")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["sts"], "no evaluation set is named 'sts'; there are coarsewsd20"),
        (["stsb"], "set 'stsb' is missing: .* has no stsb_en/"),
        ([], "no evaluation set in .*; expected one folder or more of these names: coarsewsd20, "),
    ],
)
def test_a_choice_that_cannot_be_is_refused(tmp_path, names, words):
    with pytest.raises(ValueError, match=words):
        choose_sets(tmp_path, names, "en")


def test_a_language_without_sets_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no evaluation set is in language 'fr'; there are en, zh"):
        choose_sets(tmp_path, [], "fr")


def test_a_directory_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"there is no directory .*; --data names"):
        choose_sets(tmp_path / "nowhere", [], "en")


@pytest.fixture
def real(shared) -> Path:
    folder = shared / "data" / "eval"
    if not folder.is_dir():
        pytest.skip(f"needs the evaluation sets, which are not at {folder}")
    return folder


# Row counts as README.md beside the sets states them.
@pytest.mark.parametrize(
    ("name", "count"), [("wic", (638, 5428)), ("mcl_wic", (1000, 8000)), ("scws", (783, 0))]
)
def test_real_usage_pairs_are_complete(real, name, count):
    found = read_set(real, name, tokenize)
    assert (len(found.pairs), len(found.train)) == count


@pytest.mark.parametrize(("name", "count"), [("coarsewsd20", 23370), ("senseval", 6746)])
def test_real_sense_sets_are_complete(real, name, count):
    found = read_set(real, name, tokenize)
    assert len(found.occurrences) == count
    held = sum(each.held_out for each in found.occurrences)
    assert held == pytest.approx(0.3 * count, rel=0.01)


def test_real_coarsewsd20_targets_are_the_words(real):
    found = read_set(real, "coarsewsd20", tokenize)
    assert all(each.context.tokens[each.context.index] == each.word for each in found.occurrences)


@pytest.mark.parametrize(
    ("name", "count"),
    [("stsb", 1500), ("sick", 4500), ("stsb_zh", 1458), ("lcqmc_zh", 8802), ("afqmc_zh", 34334)],
)
def test_real_sentence_pairs_are_complete(real, name, count):
    found = read_set(real, name, tokenize)
    assert len(found.gold) == len(found.left) == len(found.right) == count
    assert all(found.left)
    assert all(found.right)


@pytest.mark.parametrize(("name", "documents"), [("cranfield", 1400), ("cisi", 1460)])
def test_real_collections_are_complete(real, name, documents):
    found = read_set(real, name, tokenize)
    assert len(found.documents) == documents
    assert len(found.queries) == {"cranfield": 113, "cisi": 39}[name]
