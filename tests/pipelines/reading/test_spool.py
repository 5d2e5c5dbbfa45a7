"""Documents that wait in a local file."""

from pathlib import Path

from pipelines.reading.documents import Document
from pipelines.reading.spool import SPOOL, Spool, read_spool


def test_spool_gives_back_what_it_got(tmp_path: Path) -> None:
    documents = [Document(f"d{n}", f"ä\n{n}", {"k": "v"}, "u", n) for n in range(5)]
    spool = Spool(str(tmp_path), 3)
    positions = [spool.add(document) for document in documents]
    spool.finish()
    assert spool.file.format == SPOOL
    with open(spool.file.uri, "rb") as stream:
        assert list(read_spool(stream, positions[1:4])) == documents[1:4]
    spool.remove()
    assert list(tmp_path.iterdir()) == []


def test_spool_without_documents_makes_no_file(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path), 0)
    spool.finish()
    spool.remove()
    assert list(tmp_path.iterdir()) == []
