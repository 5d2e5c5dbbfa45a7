"""The directory jobs/<job_id>/ of a corpus, in which the workers of a job record what they did.

Every file in it is created once and never rewritten, so that whatever an engine runs twice finds
what the first attempt settled:

  job.json                          with which version it was planned; the only file not by a worker
  workers/<name>                    a worker could write, and the name of its machine
  segments/<group>.json             the segment number reserved for a group of parts
  parts/<segment_id>/<part>.json    the summary of the attempt that finished the part first
  report.json                       what the job did, written last

The directory goes when the job is done, but for the report of a job that nobody waits for.
"""

import contextlib
import json
import os
import socket
import uuid
from dataclasses import dataclass
from typing import Any

from pipelines.corpus.atomic_files import is_local
from pipelines.corpus.commits import reserve_segment
from pipelines.corpus.manifests import written_by
from pipelines.corpus.store import Store
from pipelines.errors import CorpusError
from schemas import PartSummary


@dataclass(frozen=True)
class JobDirectory:
    """The directory of one job.

    Attributes:
      store: of the corpus.
      job_id: unique in the corpus.
      writer: id under which the job said that it runs; empty if it did not.
    """

    store: Store
    job_id: str
    writer: str = ""

    @property
    def path(self) -> str:
        """The directory, relative to the corpus."""
        return f"jobs/{self.job_id}"

    def announce(self) -> None:
        """Create the directory, in the process that submits the job."""
        self._create(f"{self.path}/job.json", json.dumps({"written_by": written_by()}).encode())

    def join(self) -> None:
        """Check that this worker can take part; once for each process.

        Raises:
          CorpusError: if it has another version, sees another corpus, or cannot write to it.
        """
        if (self.store.url, self.job_id) in _joined:
            return
        where = f"a worker on {socket.gethostname()}"
        path = f"{self.path}/job.json"
        if not self.store.exists(path):
            raise CorpusError(
                f"{where} does not see {self.store.url}/{path}, which the command has written: it"
                f" sees another {self.store.url}; give the corpus by a URL that all of them see"
            )
        if (planned := json.loads(self.store.read(path))["written_by"]) != written_by():
            raise CorpusError(
                f"{where} has {written_by()}, but the job was planned with {planned}; give workers"
                " the same version, in their image or by --setup_file"
            )
        try:
            name = f"{self.path}/workers/{uuid.uuid4().hex}"
            self.store.create_exclusive(name, where.encode())
        except OSError as error:
            raise CorpusError(
                f"{where} cannot write to the corpus at {self.store.url} ({error}); give workers"
                " the right to create files there, and run the command again"
            ) from error
        _joined.add((self.store.url, self.job_id))

    def reserve(self, group: str) -> tuple[str, int]:
        """Return (segment_id, number) of a group of parts; the same at every attempt."""
        path = f"{self.path}/segments/{group}.json"
        if not self.store.exists(path):
            reserved = json.dumps(reserve_segment(self.store, self.writer)).encode()
            self._create(path, reserved)
        segment_id, number = json.loads(self.store.read(path))
        return segment_id, number

    def segment_ids(self) -> set[str]:
        """Return the segments that were reserved for this job."""
        directory = f"{self.path}/segments"
        return {
            json.loads(self.store.read(f"{directory}/{name}"))[0]
            for name in self.store.names(directory)
            if name.endswith(".json") and not name.startswith(".")
        }

    def settle(self, summary: PartSummary) -> PartSummary:
        """Record a finished part; returns the summary of the attempt that came first.

        What a later attempt wrote is removed: it is no part of the segment.
        """
        path = self._part_path(summary.segment_id, summary.part)
        if not self._create(path, summary.to_json().encode()):
            first = PartSummary.from_json(self.store.read(path))
            kept = {temporary for temporary, _ in first.files.values()}
            for temporary, _ in summary.files.values():
                if temporary not in kept:
                    self.store.remove(temporary)
            return first
        return summary

    def settled(self, segment_id: str, part: int) -> PartSummary | None:
        """Return the summary of a part that an earlier attempt finished."""
        path = self._part_path(segment_id, part)
        if not self.store.exists(path):
            return None
        return PartSummary.from_json(self.store.read(path))

    def settled_parts(self, segment_id: str) -> int:
        """Return how many parts of a segment are finished."""
        names = self.store.names(f"{self.path}/parts/{segment_id}")
        return sum(name.endswith(".json") and not name.startswith(".") for name in names)

    def report(self) -> dict[str, Any] | None:
        """Return what the job did, or None if it is not done."""
        path = f"{self.path}/report.json"
        return json.loads(self.store.read(path)) if self.store.exists(path) else None

    def write_report(self, report: dict[str, Any]) -> None:
        """Write what the job did, and remove what only its workers needed."""
        self._create(f"{self.path}/report.json", json.dumps(report, sort_keys=True).encode())
        for name in ("segments", "parts", "workers"):
            self.store.remove_tree(f"{self.path}/{name}")

    def remove(self) -> None:
        """Remove the directory."""
        self.store.remove_tree(self.path)
        if is_local(self.store.fs):  # elsewhere there are no empty directories
            for directory in ("jobs", ""):  # a dry run leaves no empty corpus behind
                with contextlib.suppress(OSError):  # it is not empty
                    os.rmdir(self.store.full(directory))

    def _part_path(self, segment_id: str, part: int) -> str:
        return f"{self.path}/parts/{segment_id}/{part:05d}.json"

    def _create(self, path: str, data: bytes) -> bool:
        """Create a file; returns False if it was there."""
        try:
            self.store.create_exclusive(path, data)
        except FileExistsError:
            # A put whose answer was lost is sent again, and then finds what it made itself.
            return self.store.read(path) == data
        return True


# Corpus and id of the jobs that this process takes part in.
_joined: set[tuple[str, str]] = set()
