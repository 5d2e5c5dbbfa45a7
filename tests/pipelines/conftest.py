"""Fixtures: a corpus embedded in one call, corpora written without a model, a bucket of S3."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.__main__ import main
from pipelines.api import Corpus
from pipelines.corpus.commits import Change, commit, reserve_segment
from pipelines.corpus.store import Store
from pipelines.embed.jobs.job import EmbedJob, EmbedReport
from pipelines.embed.jobs.local import embed
from pipelines.embed.options import EmbedOptions, JobOptions, ModelOptions
from pipelines.reading.options import InputOptions
from schemas import Part, first_vector_id, table_schema
from tests.made_manifests import made_segment

DIM = 16


@dataclass(frozen=True, kw_only=True)
class HandDocument:
    """A document given as sentences of tokens, for corpora that need no model."""

    doc_id: str
    sentences: Sequence[Sequence[str]]
    metadata: Mapping[str, str] = field(default_factory=dict)


def vector_of(*words: object, dim: int = DIM) -> np.ndarray:
    """A random [D] vector that depends on nothing but the words given."""
    digest = hashlib.sha256("\0".join(map(str, words)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8])).standard_normal(dim)


def token_vector(sentence: Sequence[str], index: int, dim: int = DIM) -> np.ndarray:
    """Depends on the word and, less, on the sentence; offset, so that centering matters."""
    word, context = vector_of(sentence[index], dim=dim), vector_of(*sentence, index, dim=dim)
    return word + 0.6 * context + 2.0


def write_segment(
    corpus: Corpus,
    documents: Sequence[HandDocument],
    *,
    dtype: str = "float16",
    tokens: str = "all",
    parts: int = 1,
    fingerprint: str = "f" * 64,
    dim: int = DIM,
    vector: Callable[..., np.ndarray] = token_vector,
    options: Mapping[str, Any] | None = None,
) -> Corpus:
    """Write one segment of hand-made documents and commit it; returns the corpus after that."""
    segment_id, number = reserve_segment(corpus.store)
    files: dict[str, list[Part]] = {"documents": [], "sentences": [], "tokens": []}
    names = ("documents", "sentences", "tokens", "token_vectors")
    counts = dict.fromkeys((*names, "rejects", "rejected_sentences", "characters"), 0)
    for part in range(parts):
        mine = documents[part::parts]
        rows = _rows(mine, number, part, tokens, vector, dim)
        for table, table_rows in rows.items():
            schema = table_schema(table, dtype=dtype, dim=dim)
            arrow = pa.Table.from_pylist(table_rows, schema=schema)
            path = Path(corpus.root) / "segments" / segment_id / table / f"part-{part:05d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(arrow, path)
            data = path.read_bytes()
            files[table].append(
                Part(
                    path=f"{table}/{path.name}",
                    rows=len(table_rows),
                    bytes=len(data),
                    sha256=hashlib.sha256(data).hexdigest(),
                )
            )
        counts["documents"] += len(mine)
        counts["sentences"] += len(rows["sentences"])
        counts["tokens"] += sum(len(row["tokens"]) for row in rows["sentences"])
        counts["token_vectors"] += len(rows["tokens"])
    segment = made_segment(
        segment_id,
        number,
        fingerprint=fingerprint,
        recipe=fingerprint,
        options={"vector_dtype": dtype, "tokens": tokens, **(options or {})},
        dim=dim,
        counts=counts,
        parts={table: tuple(parts_of) for table, parts_of in files.items()},
    )
    path = Path(corpus.root) / "segments" / segment_id / "segment.json"
    path.write_text(segment.to_json(), encoding="utf-8")
    return commit(corpus, Change(operation="embed", add=(segment,)))


def _rows(
    documents: Sequence[HandDocument],
    number: int,
    part: int,
    tokens: str,
    vector: Callable[..., np.ndarray],
    dim: int,
) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {"documents": [], "sentences": [], "tokens": []}
    for document in documents:
        offset = 0
        for index, sentence in enumerate(document.sentences):
            starts = offset + np.cumsum([0, *(len(word) + 1 for word in sentence[:-1])])
            text = " ".join(sentence)
            vectors = [vector(sentence, i, dim) for i in range(len(sentence))]
            rows["sentences"].append(
                {
                    "vector_id": first_vector_id(number, "sentences", part)
                    + len(rows["sentences"]),
                    "doc_id": document.doc_id,
                    "sentence_index": index,
                    "start": offset,
                    "end": offset + len(text),
                    "text": text,
                    "tokens": list(sentence),
                    "token_starts": starts.tolist(),
                    "attention": [1 / len(sentence)] * len(sentence),
                    "cut": False,
                    "vector": list(np.mean(vectors, axis=0).astype(np.float16)),
                }
            )
            for place, word in enumerate(sentence):
                if tokens == "none" or (tokens == "content" and word in ("the", "of", ".")):
                    continue
                rows["tokens"].append(
                    {
                        "vector_id": first_vector_id(number, "tokens", part) + len(rows["tokens"]),
                        "doc_id": document.doc_id,
                        "sentence_index": index,
                        "token_index": place,
                        "start": int(starts[place]),
                        "end": int(starts[place]) + len(word),
                        "token": word,
                        "vector": list(vectors[place].astype(np.float16)),
                    }
                )
            offset += len(text) + 1
        rows["documents"].append(
            {
                "doc_id": document.doc_id,
                "sha256": "0" * 64,
                "uri": "hand",
                "position": 0,
                "metadata": list(document.metadata.items()),
                "characters": offset,
                "sentences": len(document.sentences),
                "tokens": sum(map(len, document.sentences)),
                "rejected_sentences": 0,
            }
        )
    return rows


@pytest.fixture(scope="session")
def hand_document() -> type[HandDocument]:
    """The class of documents that `make_corpus` takes."""
    return HandDocument


@pytest.fixture(scope="session")
def hand_vector() -> Callable[..., np.ndarray]:
    """The rule by which hand-made corpora get their token vectors."""
    return token_vector


@pytest.fixture(scope="session")
def add_segment() -> Callable[..., Corpus]:
    """`write_segment`."""
    return write_segment


@pytest.fixture
def make_corpus(tmp_path: Path) -> Callable[..., Corpus]:
    """A function that writes a corpus of hand-made documents, one list of them a segment."""

    def make(*segments: Sequence[HandDocument], name: str = "corpus", **settings: Any) -> Corpus:
        corpus = Corpus.open_or_create(tmp_path / name)
        for documents in segments:
            corpus = write_segment(corpus, documents, **settings)
        return corpus

    return make


@pytest.fixture
def write_jsonl(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes records as JSON lines; strings are written as they are."""

    def write(records: Iterable[Any], name: str = "in.jsonl") -> Path:
        path = tmp_path / name
        lines = [r if isinstance(r, str) else json.dumps(r, ensure_ascii=False) for r in records]
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    return write


@pytest.fixture
def run_embed(tmp_path: Path, tiny_elmo_dir: Path) -> Callable[..., EmbedReport]:
    """A function that embeds into tmp_path/corpus with the tiny model; keywords are options."""

    def run(*inputs: Any, corpus: Any = None, **settings: Any) -> EmbedReport:
        def chosen(kind: type, **defaults: Any) -> Any:
            names = kind.__dataclass_fields__  # type: ignore[attr-defined]
            found = {name: settings.pop(name) for name in names if name in settings}
            return kind(**{**defaults, **found})

        job = EmbedJob(
            inputs=[str(path) for path in inputs],
            corpus=str(corpus or tmp_path / "corpus"),
            reading=chosen(InputOptions),
            model=chosen(ModelOptions, model=str(tiny_elmo_dir)),
            embedding=chosen(EmbedOptions),
            running=chosen(JobOptions, max_reject_fraction=1.0),
            **settings,
        )
        return embed(job)

    return run


@pytest.fixture
def rows_of(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """A function that returns all live rows of a table."""

    def read(table: str, columns: list[str] | None = None, corpus: Any = None) -> Any:
        opened = Corpus.open(str(corpus or tmp_path / "corpus"))
        return [row for batch in opened.read(table, columns) for row in batch.to_pylist()]

    return read


@pytest.fixture
def assert_same_rows(rows_of: Callable[..., list[dict[str, Any]]]) -> Callable[[Path, Path], None]:
    """A function that compares two corpora: the same rows in the same order.

    Vectors may differ within rounding, since batches may.
    """
    compared = {
        "documents": ["doc_id", "sha256", "sentences", "tokens"],
        "sentences": ["doc_id", "sentence_index", "text", "tokens", "vector"],
        "tokens": ["doc_id", "sentence_index", "token_index", "token", "vector"],
        "rejects": ["uri", "position", "stage", "reason", "doc_id"],
    }

    def compare(one: Path, other: Path) -> None:
        for table, columns in compared.items():
            found, expected = (rows_of(table, columns, corpus=root) for root in (one, other))
            vectors = [[row.pop("vector", 0) for row in rows] for rows in (found, expected)]
            assert found == expected
            np.testing.assert_allclose(*vectors, atol=1e-3)

    return compare


@pytest.fixture
def interleave(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """A function that lets another writer work from beginning to end before embed's next commit.

    embed has planned by then: what the other writer commits is not in the corpus it planned on.
    """

    def arrange(other: Callable[[], Any]) -> None:
        def after_the_other(store: Store, writer: str = "") -> tuple[str, int]:
            monkeypatch.setattr("pipelines.embed.jobs.local.reserve_segment", reserve_segment)
            other()
            return reserve_segment(store, writer)

        monkeypatch.setattr("pipelines.embed.jobs.local.reserve_segment", after_the_other)

    return arrange


@pytest.fixture(scope="session")
def secrets() -> list[dict[str, Any]]:
    """The documents of `corpus_dir`, d0 to d5."""
    return [{"id": f"d{n}", "text": f"Secret{n} stands on the bank. Yes!"} for n in range(6)]


@pytest.fixture(scope="session")
def three_segments(
    tmp_path_factory: pytest.TempPathFactory, tiny_elmo_dir: Path, secrets: list[dict[str, Any]]
) -> Path:
    """A directory with in.jsonl and its corpus of three segments and a reject, never changed."""
    directory = tmp_path_factory.mktemp("three")
    lines = [*map(json.dumps, secrets), "{broken"]
    (directory / "in.jsonl").write_text("".join(f"{line}\n" for line in lines))
    arguments = ["--corpus", str(directory / "corpus"), "--model", str(tiny_elmo_dir)]
    status = main(["embed", str(directory / "in.jsonl"), *arguments, "--commit-every", "2"])
    assert status == 3
    return directory


@pytest.fixture
def corpus_dir(three_segments: Path, tmp_path: Path) -> str:
    """A corpus of three segments with two documents each and a reject, to be changed."""
    shutil.copytree(three_segments / "corpus", tmp_path / "corpus")
    return str(tmp_path / "corpus")


@pytest.fixture
def as_version_1() -> Callable[[Any], None]:
    """A function that makes the newest snapshot of a corpus one of version 1, without checksums.

    A test that changes a manifest by hand calls it; nothing says then which bytes it had.
    """

    def forget(root: Any) -> None:
        path = max((Path(str(root)) / "snapshots").glob("*.json"))
        fields = json.loads(path.read_text())
        for name in ("checksums", "parent", "retired", "abandoned", "fenced", "purge", "sha256"):
            fields.pop(name, None)
        path.write_text(json.dumps({**fields, "schema_version": 1}))

    return forget


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The URL of a server that speaks S3's protocol and keeps its objects in memory."""
    reason = "needs s3fs and moto's server: pip install s3fs 'moto[s3]' flask flask-cors"
    pytest.importorskip("s3fs", reason=reason)
    pytest.importorskip("flask_cors", reason=reason)
    server = pytest.importorskip("moto.server", reason=reason).ThreadedMotoServer(
        "127.0.0.1", 0, verbose=False
    )
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty bucket."""
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    s3fs.S3FileSystem.clear_instance_cache()
    name = tmp_path.name.replace("_", "-")[:60].lower()
    s3fs.S3FileSystem().mkdir(name)
    yield f"s3://{name}"
    s3fs.S3FileSystem.clear_instance_cache()
