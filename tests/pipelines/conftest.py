"""Fixtures of the embedding half: a corpus in one call, rows in one call."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from pipelines.corpus import Corpus
from pipelines.embed import EmbedJob, EmbedReport, embed
from pipelines.options import EmbedOptions, InputOptions, JobOptions, ModelOptions


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
