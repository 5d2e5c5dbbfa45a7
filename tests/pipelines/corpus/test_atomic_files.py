"""Creating a file only once: how each kind of store does it, and which are refused."""

import errno
import os
from pathlib import Path
from typing import Any

import fsspec
import pytest

from pipelines.corpus.atomic_files import atomic_primitive, create_exclusive
from pipelines.corpus.store import Store
from pipelines.errors import CorpusError


def test_store_without_atomic_creation_is_refused() -> None:
    http = fsspec.AbstractFileSystem()
    http.protocol = "ftp"
    with pytest.raises(CorpusError, match=r"ftp:// cannot be written safely.*--single-writer"):
        create_exclusive(http, "x", b"")


class OldS3(fsspec.AbstractFileSystem):
    """An object store whose client has no conditional put."""

    protocol = ("s3", "s3a")

    def _pipe_file(self, path: str, value: bytes) -> None:  # noqa: ARG002
        raise AssertionError("not to be called")


class NewS3(OldS3):
    """An object store whose client has one."""

    protocol = ("s3", "s3a")

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, str]] = []

    def _pipe_file(self, path: str, value: bytes, mode: str = "overwrite") -> None:  # noqa: ARG002
        raise AssertionError("not to be called")

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:  # noqa: ARG002
        self.calls.append((path, mode))


def test_object_store_is_written_with_a_conditional_put() -> None:
    bucket = NewS3()
    create_exclusive(bucket, "bucket/x", b"1")
    assert atomic_primitive(bucket) == "conditional-put"
    assert bucket.calls == [("bucket/x", "create")]
    with pytest.raises(CorpusError, match=r"has no conditional put.*upgrade s3fs or gcsfs"):
        atomic_primitive(OldS3())


def test_conditional_put_that_meets_another_one_has_lost() -> None:
    bucket = NewS3()

    def conflict(*_: Any, **__: Any) -> None:
        cause = RuntimeError("An error occurred (ConditionalRequestConflict): try again")
        raise OSError("input/output error") from cause

    bucket.pipe_file = conflict  # type: ignore[method-assign]
    with pytest.raises(FileExistsError, match="is being created"):
        create_exclusive(bucket, "bucket/x", b"1")


def test_filesystem_without_hard_links_needs_a_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "links are not supported")

    monkeypatch.setattr("os.link", no_links)
    with pytest.raises(CorpusError, match=r"no hard links.*--single-writer"):
        Store(tmp_path).create_exclusive("x", b"1")
    assert list(tmp_path.iterdir()) == []
    Store(tmp_path, single_writer=True).create_exclusive("x", b"1")
    assert (tmp_path / "x").read_bytes() == b"1"


def test_broken_disk_is_not_told_as_a_want_of_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("os.link", broken)
    with pytest.raises(OSError, match="Input/output error"):
        Store(tmp_path).create_exclusive("x", b"1")
    assert list(tmp_path.iterdir()) == []
