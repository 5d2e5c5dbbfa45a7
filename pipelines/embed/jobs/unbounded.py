"""The stream on an engine: the steps of one unbounded Beam job (`stream_launch` submits it).

    reader (one, bounded ahead) -> Reshuffle -> embed a batch -> committer (single key)

No windows and no timers: engines lose data with them (docs/streaming.md). The positions in the
corpus decide what is committed; the engine's state is only a waiting room.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.coders import PickleCoder
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.transforms.userstate import BagStateSpec
from apache_beam.utils.timestamp import Duration

from pipelines.corpus.commits import reserve_segment
from pipelines.corpus.store import Store
from pipelines.corpus.stream_plan import BatchSummary
from pipelines.corpus.view import CorpusView
from pipelines.embed.inference import ElmoModelHandler
from pipelines.embed.jobs.stream_commit import (
    StreamCommitter,
    StreamFenced,
    WrittenBatch,
    fenced,
    written_batch,
)
from pipelines.embed.jobs.stream_job import StreamJob
from pipelines.embed.jobs.stream_reader import ReadBatch, StreamReader
from pipelines.embed.jobs.streaming import (
    MAX_PAUSE_SECONDS,
)
from pipelines.embed.recipe import Recipe
from pipelines.embed.record_segments import RecordEmbedder
from pipelines.embed.stream_documents import StreamDocuments
from pipelines.errors import CorpusError
from pipelines.text.tokenizer import PretokenizedText, Tokenizer
from schemas import StreamEntry

logger = logging.getLogger(__name__)

READ_SECONDS = 1.0
_RESUME = Duration(seconds=0.05)


@dataclass(frozen=True, kw_only=True)
class UnboundedPlan:
    """All that the steps of the job are made from.

    Attributes:
      job: what is asked for, with paths that workers see.
      store: of the corpus.
      job_id: of this start of the stream.
      epoch: with which the launcher took the stream over for it.
      recipe: of the rows.
      tokenizer: of the recipe.
    """

    job: StreamJob
    store: Store
    job_id: str
    epoch: int
    recipe: Recipe
    tokenizer: Tokenizer | PretokenizedText


class _EndlessTracker(OffsetRestrictionTracker):
    """Counts turns of the reader; there is one, so that nothing is split off but what comes."""

    def try_split(self, fraction_of_remainder: float) -> Any:
        return super().try_split(0) if fraction_of_remainder == 0 else None

    def check_done(self) -> None:
        """The reader ends when it is done, wherever it is."""

    def is_bounded(self) -> bool:
        return False


class _Turns(beam.transforms.core.RestrictionProvider):
    def initial_restriction(self, element: Any) -> OffsetRange:
        del element
        return OffsetRange(0, 2**62)

    def create_tracker(self, restriction: OffsetRange) -> _EndlessTracker:
        return _EndlessTracker(restriction)

    def restriction_size(self, element: Any, restriction: OffsetRange) -> int:
        del element, restriction
        return 1


class Readers:
    """The readers of a process by job; one goes on where its last turn ended."""

    def __init__(self) -> None:
        self._readers: dict[str, StreamReader] = {}
        # How long a job's next reader waits after one that failed: some engines try at once again.
        self._pauses: dict[str, float] = {}
        self._one_at_a_time = threading.Lock()

    def turn(self, plan: UnboundedPlan) -> tuple[ReadBatch | None, bool]:
        """Give a job's reader a turn; returns its batch, if there is one, and whether it is done.

        Raises:
          OSError, RuntimeError, ValueError: as the reader does; the next turn begins a new one.
        """
        with self._one_at_a_time:
            return self._turn(plan)

    def _turn(self, plan: UnboundedPlan) -> tuple[ReadBatch | None, bool]:
        reader = self._readers.get(plan.job_id)
        try:
            if reader is None:
                time.sleep(self._pauses.get(plan.job_id, 0.0))
                reader = StreamReader(plan.job, plan.store, plan.job_id, plan.recipe.digest)
                self._readers[plan.job_id] = reader
            read, done = reader.next(READ_SECONDS), reader.done
        except BaseException as error:
            self._end(plan.job_id)
            pause = self._pauses.get(plan.job_id, 0.5)
            self._pauses[plan.job_id] = min(2 * pause, MAX_PAUSE_SECONDS)
            if isinstance(error, CorpusError) and is_replaced(plan):
                return None, True
            raise
        if read is not None:
            self._pauses.pop(plan.job_id, None)
        if done:
            self._end(plan.job_id)
        return read, done

    def _end(self, job_id: str) -> None:
        reader = self._readers.pop(job_id, None)
        if reader is not None:
            reader.close()


READERS = Readers()


class ReadStreamFn(beam.DoFn):
    """Anything -> ReadBatch, until the stream ends. A turn gives one batch at most."""

    def __init__(self, plan: UnboundedPlan) -> None:
        self._plan = plan

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        element: Any,
        tracker: Any = beam.DoFn.RestrictionParam(_Turns()),  # noqa: B008
    ) -> Iterator[ReadBatch]:
        del element
        if not tracker.try_claim(tracker.current_restriction().start):
            return
        read, done = READERS.turn(self._plan)
        if read is not None:
            yield read
        if not done:
            tracker.defer_remainder(_RESUME)


def is_replaced(plan: UnboundedPlan) -> bool:
    """Say whether a later start of the stream feeds the corpus: then this job has nothing to do.

    It must end rather than fail, as an engine that tries again for ever would never be done.
    """
    entry = CorpusView.newest(plan.store).snapshot.stream
    if entry is None or entry.owner.get("job") == plan.job_id or entry.epoch <= plan.epoch:
        return False
    logger.warning("job %s ends: epoch %d of the stream took over", plan.job_id, entry.epoch)
    return True


class EmbedBatchFn(beam.DoFn):
    """ReadBatch -> BatchSummary of what its segment holds."""

    def __init__(self, plan: UnboundedPlan) -> None:
        self._plan = plan
        self._embedder: RecordEmbedder | None = None

    def process(self, read: ReadBatch) -> Iterator[BatchSummary[WrittenBatch]]:
        plan, choice, segment = self._plan, read.choice, None
        if choice.documents or choice.rejects:
            self._embedder = self._embedder or _embedder(plan)
            segment_id, number = reserve_segment(plan.store)
            segment = self._embedder.write(segment_id, number, choice.documents, choice.rejects)
        payload = written_batch(read.batch, choice, read.lag, segment)
        yield BatchSummary(epoch=read.epoch, ranges=read.batch.ranges, payload=payload)


def _embedder(plan: UnboundedPlan) -> RecordEmbedder:
    options = plan.job.model
    return RecordEmbedder(
        store=plan.store,
        model=ElmoModelHandler(options, plan.recipe).load_model(),
        recipe=plan.recipe,
        tokenizer=plan.tokenizer,
        max_tokens_per_batch=options.max_tokens_per_batch,
        row_group_bytes=plan.job.running.row_group_bytes,
    )


@beam.typehints.with_input_types(tuple[str, Any])
class CommitBatchesFn(beam.DoFn):
    """(one key, BatchSummary) -> nothing; what waits for an earlier batch is in the state."""

    WAITING = BagStateSpec("waiting", PickleCoder())

    def __init__(self, plan: UnboundedPlan) -> None:
        self._plan = plan
        self._committer: StreamCommitter | None = None

    def process(
        self,
        keyed: tuple[str, BatchSummary[WrittenBatch]],
        waiting: Any = beam.DoFn.StateParam(WAITING),  # noqa: B008
    ) -> None:
        summaries = [*waiting.read(), keyed[1]]
        try:
            rest = self._refreshed().commit_waiting(summaries, count)
        except StreamFenced:
            if not is_replaced(self._plan):
                raise
            rest = []  # the other stream reads it again, from the positions in the corpus
        waiting.clear()
        for summary in rest:
            waiting.add(summary)

    def _refreshed(self) -> StreamCommitter:
        """Return the committer of the newest epoch.

        Raises:
          StreamFenced: if another job feeds the corpus.
        """
        plan, committer = self._plan, self._committer
        corpus = CorpusView.newest(plan.store, committer.corpus.segments if committer else ())
        entry = corpus.snapshot.stream
        if entry is None or entry.owner.get("job") != plan.job_id:
            raise fenced(entry or StreamEntry(source_id="", epoch=0), corpus)
        if committer is None or committer.entry != entry:
            known = StreamDocuments(corpus, plan.recipe.digest)
            committer = self._committer = StreamCommitter(corpus, entry, known)
        else:
            committer.refresh()
        return committer


BATCH_COUNTS = ("read", "rejected", "unchanged", "replaced", "deleted", "skipped")
SEGMENT_COUNTS = ("rejected_sentences", "sentences", "tokens")


def count(owner: Mapping[str, Any], batch: WrittenBatch, changed: int) -> Mapping[str, Any]:
    """Return what an entry says of its job once a batch is committed: all that the job did."""
    counts: Counter[str] = Counter(owner.get("counts", {}))
    counts.update({name: getattr(batch, name) for name in BATCH_COUNTS})
    counts.update({name: batch.counts.get(name, 0) for name in SEGMENT_COUNTS})
    counts.update(written=batch.counts.get("documents", 0), changed=changed, commits=1)
    reasons = Counter(owner.get("reasons", {})) + batch.reasons
    return {**owner, "counts": dict(counts), "reasons": dict(reasons)}


def _on_one_key(summary: Any) -> tuple[str, Any]:
    return "stream", summary


def build(pipeline: beam.Pipeline, plan: UnboundedPlan) -> None:
    """Add the whole job to a pipeline."""
    _ = (
        pipeline
        | "Once" >> beam.Create([0])
        | "ReadStream" >> beam.ParDo(ReadStreamFn(plan))
        | "Spread" >> beam.Reshuffle()
        | "EmbedBatch" >> beam.ParDo(EmbedBatchFn(plan))
        | "OnOneKey" >> beam.Map(_on_one_key).with_output_types(tuple[str, Any])
        | "CommitBatches" >> beam.ParDo(CommitBatchesFn(plan))
    )
