"""A corpus from somebody else: it is read as data, and from nowhere but its own directory."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipelines.__main__ import main
from pipelines.api import Corpus
from pipelines.corpus.store import Store
from pipelines.errors import CorpusError

DATA = Path(__file__).resolve().parents[1] / "data" / "corpus-0.1"


def change(path: Path, **fields: Any) -> None:
    """Change fields of a manifest, as somebody who may write to the corpus can."""
    known = json.loads(path.read_text())
    known.update(fields)
    known.pop("sha256", None)
    path.write_text(json.dumps(known))


@pytest.fixture
def forged(tmp_path: Path) -> Path:
    """A corpus of version 1, whose manifests carry no sums, to be changed."""
    import shutil

    shutil.copytree(DATA / "corpus", tmp_path / "corpus")
    return tmp_path / "corpus"


@pytest.mark.parametrize(
    "path", ["../x", "a/../../x", "/etc/passwd", "a//b", "./a", "a/.", "segments/\0"]
)
def test_only_plain_paths_below_the_corpus_are_opened(path: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("secret")
    store = Store(tmp_path / "corpus")
    for use in (store.read, store.open, store.exists, store.size, store.remove):
        with pytest.raises(CorpusError, match="expected a path inside the corpus"):
            use(path)


def test_link_out_of_the_corpus_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/x").write_text("secret")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/senses").symlink_to(tmp_path / "outside")
    store = Store(tmp_path / "corpus")
    with pytest.raises(CorpusError, match=r"is a link to .*outside/x, outside of the corpus"):
        store.read("senses/x")
    with pytest.raises(CorpusError, match="outside of the corpus"):
        store.open("senses/new", "wb")
    assert os.listdir(tmp_path / "outside") == ["x"]
    (tmp_path / "named").symlink_to(tmp_path / "corpus")  # a link that the user names is followed
    Store(tmp_path / "named").create_exclusive("a", b"1")
    assert (tmp_path / "corpus/a").read_bytes() == b"1"


def test_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    store = Store(tmp_path)
    for use in (store.read, store.open):
        with pytest.raises(CorpusError, match="pipe is not a regular file"):
            use("pipe")


def test_pipe_in_place_of_an_index_file_is_refused(
    forged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = forged / "indexes/ecef3895f461c4c5/index.json"
    forms = json.loads(path.read_text())["forms"]
    (forged / forms["path"]).unlink()
    os.mkfifo(forged / forms["path"])
    change(path, forms={**forms, "bytes": 0})
    assert (
        main(["search", "the [bank]", "--corpus", str(forged), "--model", str(DATA / "model")]) == 1
    )
    assert "is not a regular file; a corpus holds only regular files" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        ("snapshots/00000007.json", {"index": "../../evil"}, "expected a path inside"),
        ("snapshots/00000007.json", {"tombstones": ["/dev/zero"]}, "expected a path inside"),
        ("snapshots/00000007.json", {"tombstones": "x"}, "field 'tombstones' is 'x', expected a l"),
        ("snapshots/00000007.json", {"number": 9}, "has the number 9 inside, expected 7"),
        ("segments/00000001/segment.json", {"segment_id": "00000002"}, "expected '00000001'"),
        ("segments/00000001/segment.json", {"dim": "wide"}, "field 'dim' is 'wide', expected an"),
        ("indexes/ecef3895f461c4c5/index.json", {"index_id": "x"}, "expected 'ecef3895f461c4c5'"),
        ("indexes/ecef3895f461c4c5/index.json", {"shards": 7}, "field 'shards' is 7, expected a"),
    ],
)
def test_forged_manifests_are_told_in_one_line(
    name: str,
    fields: dict[str, Any],
    words: str,
    forged: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change(forged / name, **fields)
    arguments = ["--corpus", str(forged), "--model", str(DATA / "model")]
    assert main(["search", "the [bank]", *arguments]) == 1
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error


def test_model_named_by_a_corpus_is_not_fetched(
    forged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in forged.glob("segments/*/segment.json"):
        model = json.loads(path.read_text())["model"]
        change(path, model={**model, "name": "http://127.0.0.1:9/model.zip"})
    assert main(["search", "the [bank]", "--corpus", str(forged)]) == 1
    told = capsys.readouterr().err
    assert "does not fetch a model because a corpus names it" in told
    assert "if you trust it, give --model http://" in told


@pytest.mark.parametrize("name", ["segments/00000001/segment.json", "index.json", "tombstones"])
def test_next_commit_of_an_old_corpus_takes_sums_of_all_manifests(name: str, forged: Path) -> None:
    assert main(["delete", "fish", "--corpus", str(forged)]) == 0
    snapshot = Corpus.open(forged).snapshot
    [path] = [p for p in snapshot.checksums if name in p][:1]
    assert snapshot.checksums[path] == hashlib.sha256((forged / path).read_bytes()).hexdigest()
    (forged / path).write_bytes((forged / path).read_bytes() + b" ")
    assert main(["verify", "--corpus", str(forged)]) == 1


@pytest.mark.parametrize(
    ("name", "path", "value", "words"),
    [
        ("segment", ("options", "layer_weights"), [[1]], "field 'layer_weights'[0] is [1], expect"),
        ("segment", ("options", "tokenizer"), None, "field 'tokenizer' is None, expected an obj"),
        ("segment", ("options", "tokenizer", "rules"), "x", "field 'rules' is 'x', expected an in"),
        ("segment", ("model", "name"), 7, "field 'name' is 7, expected a string"),
        ("segment", ("counts", "tokens"), 2**70, "expected at most 9223372036854775807"),
        ("index", ("centering", "tokens"), [], "field 'tokens' is [], expected an object"),
        ("index", ("centering", "tokens", "mean"), [0.5], "a vector of 1 numbers, expected 16"),
        ("index", ("centering", "sentences", "components"), 3, "'components' is 3, expected a li"),
        ("index", ("tables", "tokens"), "x", "field 'tokens' is 'x', expected an object"),
        ("index", ("tables", "sentences", "trained"), "x", "'trained' is 'x', expected an object"),
        ("index", ("settings", "sentence_weight"), "x", "is 'x', expected a number"),
        ("index", ("schema_version",), "x", "'schema_version' is 'x', expected an integer"),
        ("index", ("dtype",), "float8", "is 'float8', expected 'float16' or 'float32'"),
    ],
)
@pytest.mark.parametrize("command", [["search", "the [bank]"], ["verify"], ["senses", "bank"]])
def test_wrong_types_in_nested_fields_are_told_in_one_line(
    name: str,
    path: tuple[str, ...],
    value: Any,
    words: str,
    command: list[str],
    forged: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    [file] = list(forged.rglob(f"{name}.json"))[:1]
    file = forged / "segments/00000001/segment.json" if name == "segment" else file
    fields = inner = json.loads(file.read_text())
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    change(file, **fields)
    model = ["--model", str(DATA / "model")] if command[0] == "search" else []
    assert main([*command, "--corpus", str(forged), *model]) == 1
    said = "".join(capsys.readouterr())
    assert words in said
    assert file.name in said
    assert "unexpected" not in said


def test_changed_index_manifest_is_built_again(
    forged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["delete", "fish", "--corpus", str(forged)]) == 0  # sums of all manifests
    [file] = forged.rglob("index.json")
    file.write_bytes(file.read_bytes() + b" ")
    arguments = ["--corpus", str(forged), "--model", str(DATA / "model")]
    assert main(["search", "the [bank]", *arguments]) == 1
    assert "build the index again: sensegrep index --rebuild" in capsys.readouterr().err
    assert main(["index", "--rebuild", "--corpus", str(forged)]) == 0
    assert main(["search", "the [bank]", *arguments]) == 0


def test_names_that_a_corpus_gives_command_no_terminal(
    forged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in forged.glob("segments/*/segment.json"):
        model = json.loads(path.read_text())["model"]
        change(path, model={**model, "name": "\x1b]0;evil\x07"}, written_by="\x1b[31m")
    for command in (["info"], ["verify"], ["search", "the [bank]"], ["senses", "bank"]):
        main([*command, "--corpus", str(forged)])
        said = capsys.readouterr()
        assert "\x1b" not in said.out + said.err
    main(["info", "--corpus", str(forged)])
    assert "\ufffd]0;evil\ufffd" in capsys.readouterr().out
