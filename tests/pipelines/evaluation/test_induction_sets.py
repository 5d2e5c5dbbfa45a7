"""Sets of induced senses: what is read of their files, and what is said of broken ones."""

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from pipelines.evaluation.induction_sets import read_semcor_wsi, read_semeval2013_wsi
from pipelines.evaluation.sets import Context

HEADER = "sentence,lemma,lexsn,wnsn,pos,position\n"
ROW = 'They sat by the bank .,bank,1:17:01,1,NN,"(16, 20)"\n'
XML = """<?xml version="1.0"?><instances lemma="win" partOfSpeech="v">
<instance id="win.v.1" lemma="win" partOfSpeech="v" tokenStart="4" tokenEnd="7" token="won">We \
 won a &lt;cup&gt;.</instance>
<instance id="win.v.2" lemma="win" partOfSpeech="v" tokenStart="9" tokenEnd="13"
 token="wins">She wins .</instance></instances>"""


def by_blanks(where: str, text: str, start: int, end: int) -> Context:
    assert where
    assert text[start:end].strip()
    before = text[:start].split()
    return Context(tuple(text.split()), len(before))


def semcor(folder: Path, text: str, name: str = "dev.csv.gz") -> Path:
    folder.mkdir(exist_ok=True)
    data = text.encode()
    (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return folder


def test_semcor_is_read_with_words_by_part_of_speech(tmp_path: Path) -> None:
    rows = ROW + '"a, banked ""fire""",bank,,1,VB,"(3, 9)"\n'
    found = read_semcor_wsi(semcor(tmp_path / "s", HEADER + rows))
    first, second = found.instances
    assert (first.id, first.lemma, first.gold) == ("0", "bank.NN", (("1:17:01", 1.0),))
    assert first.context.tokens[first.context.index] == "bank"
    assert (second.id, second.lemma, second.gold) == ("1", "bank.VB", ())
    assert second.context.tokens == ("a,", "banked", '"fire"')
    assert second.context.index == 1


def test_rows_of_several_files_go_on(tmp_path: Path) -> None:
    semcor(tmp_path / "s", HEADER + ROW, "a.csv.gz")
    plain = HEADER.replace("lexsn,", "") + ROW.replace("1:17:01,", "")
    found = read_semcor_wsi(semcor(tmp_path / "s", plain, "b.csv"))
    assert [one.id for one in found.instances] == ["0", "1"]
    assert found.instances[1].gold == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sentence,lemma\n", "no column 'position'"),
        (HEADER + ROW.replace("(16, 20)", "16-20"), "position '16-20', expected as in"),
        (HEADER + ROW.replace("(16, 20)", "(90, 99)"), "no token at characters 90-99"),
        (HEADER + "They,bank\n", "fewer fields than the header"),
    ],
)
def test_what_is_wrong_with_semcor_is_said(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_semcor_wsi(semcor(tmp_path / "s", text))


def test_an_empty_folder_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no \*\.csv\.gz"):
        read_semcor_wsi(tmp_path)
    with pytest.raises(ValueError, match="no XML file of instances"):
        read_semeval2013_wsi(tmp_path, by_blanks)


def write_semeval(folder: Path, *, packed: bool, xml: str = XML, key: str = "") -> Path:
    files = {"top/contexts/xml-format/win.v.xml": xml, "top/keys/gold/all.key": key}
    files["top/keys/baselines/all.key"] = "win.v win.v.2 other"
    folder.mkdir()
    if packed:
        with tarfile.open(folder / "test.tar.gz", "w:gz") as archive:
            for name, text in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(text.encode())
                archive.addfile(member, io.BytesIO(text.encode()))
    else:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("packed", [True, False])
def test_semeval_is_read_packed_and_unpacked(tmp_path: Path, packed: bool) -> None:
    key = "win.v win.v.1 win%2:33::/4 win%2:35::/1\n"
    found = read_semeval2013_wsi(write_semeval(tmp_path / "s", packed=packed, key=key), by_blanks)
    first, second = found.instances
    assert found.force
    assert first.gold == (("win%2:33::", 1.0), ("win%2:35::", 0.25))
    assert first.context.tokens == ("We", "won", "a", "<cup>.")
    assert first.context.index == 1
    # Offsets that do not fit are set right by the token; no gold, and read all the same.
    assert (second.lemma, second.context.index, second.gold) == ("win.v", 1, ())


@pytest.mark.parametrize(
    ("xml", "key", "words"),
    [
        ("<instances>", "", "not XML"),
        (XML.replace('token="won"', 'token="lost"'), "", "token 'lost' is not in"),
        (XML.replace('tokenStart="4"', 'tokenStart="x"'), "", "attribute missing or no number"),
        (XML.replace("win.v.2", "win.v.1"), "", "occurs twice"),
        (XML, "win.v win.v.1", "expected 'lemma instance sense/weight"),
        (XML, "win.v win.v.1 a/b", "'a/b', expected sense/weight"),
        (XML, "win.v win.v.1 a/0", "no weight above 0"),
    ],
)
def test_what_is_wrong_with_semeval_is_said(tmp_path: Path, xml: str, key: str, words: str) -> None:
    folder = write_semeval(tmp_path / "s", packed=False, xml=xml, key=key)
    with pytest.raises(ValueError, match=words):
        read_semeval2013_wsi(folder, by_blanks)


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "dev.tar.gz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"dev\.tar\.gz: cannot be read"):
        read_semeval2013_wsi(tmp_path, by_blanks)
