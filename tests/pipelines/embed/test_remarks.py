"""What is said of the documents of a job: each thing once, and by every driver."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.__main__ import main
from pipelines.embed.choosing import COUNTS, REMARK, scan_piece
from pipelines.embed.remarks import Remarks, first_of_each_kind
from pipelines.reading.documents import Document
from pipelines.reading.input_files import find_inputs
from pipelines.reading.options import InputOptions
from pipelines.reading.splits import FilePiece

CHINESE = "我们去银行，然后去河边。"


def test_each_kind_is_said_once() -> None:
    remarks = Remarks("en")
    found = [
        *remarks.of(Document("a", CHINESE, left_out=("image",))),
        *remarks.of(Document("b", CHINESE, left_out=("image", "sound"))),
    ]
    said = first_of_each_kind(found)
    assert len(said) == len(found) == 3
    assert "document a: Chinese has no spaces between words" in said[2]
    assert said[0] == (
        "document a: field 'image' is binary, and its bytes are left out of the metadata"
    )
    assert "document b: field 'sound'" in said[1]


def test_texts_in_tokens_have_no_language() -> None:
    assert not list(Remarks(None).of(Document("a", CHINESE)))


def test_many_workers_say_it_once_together(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"id": i, "text": CHINESE}) + "\n" for i in range(9)))
    [file] = find_inputs([str(path)])
    found = []
    for piece in range(3):
        outputs = scan_piece(FilePiece(piece, file, piece, 3), InputOptions(), Remarks("en"))
        found += [e[0] for name, e in outputs if name == COUNTS and e[0].startswith(REMARK)]
    assert len(found) == 3
    said = first_of_each_kind([each.removeprefix(REMARK) for each in found])
    assert len(said) == 1
    assert said[0].startswith("document 0: Chinese")


@pytest.mark.parametrize("flags", [[], ["--dry-run"]])
def test_the_command_says_it(
    tmp_path: Path, tiny_elmo_dir: Path, flags: list[str], caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    source = tmp_path / "a.parquet"
    columns: dict[str, Any] = {"text": ["a bank", "two banks"], "image": [b"\xff", b"\xfe"]}
    pq.write_table(pa.table(columns), source)
    words = ["embed", str(source), "--corpus", str(tmp_path / "c"), "--model", str(tiny_elmo_dir)]
    assert main([*words, "--json", *flags]) == 0
    [remark] = json.loads(capsys.readouterr().out)["remarks"]
    assert "field 'image' is binary" in remark
    assert caplog.text.count("field 'image' is binary") == 1
