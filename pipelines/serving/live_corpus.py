"""The corpus that is served: it changes to a new snapshot without failing running requests."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from pipelines.api import Corpus, open_searcher
from pipelines.errors import CorpusError
from pipelines.search.query_encoder import QueryEncoder
from pipelines.search.searcher import Searcher
from pipelines.senses.lines import TellWordSenses
from pipelines.senses.service import word_senses
from pipelines.serving.corpus_facts import describe_corpus
from pipelines.serving.encoded_queries import EncodedQueries
from pipelines.serving.micro_batches import MicroBatches, Model
from pipelines.serving.model_by_count import ModelByCount
from pipelines.serving.senses_cache import SensesCache
from pipelines.serving.settings import ServeSettings

logger = logging.getLogger(__name__)

Observe = Callable[[int, int, float], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedModel:
    """The model of a corpus and the batches that run it.

    Attributes:
      name: as the corpus names it.
      dim: width D of its vectors.
      fingerprint: of the corpus's vectors.
      batches: what requests ask.
      notes: what a reader should know of the model.
    """

    name: str
    dim: int
    fingerprint: str
    batches: MicroBatches
    notes: tuple[str, ...]


class ServedCorpus:
    """One snapshot, open: a request takes it once and keeps it to its end.

    Args:
      corpus: the snapshot.
      searcher: over its index.
      model: its model, loaded.
      tell_senses: a cache of senses.
    """

    def __init__(
        self, corpus: Corpus, searcher: Searcher, model: LoadedModel, tell_senses: SensesCache
    ) -> None:
        self.corpus, self.searcher, self.model = corpus, searcher, model
        self.tell_senses = tell_senses
        self.encode = EncodedQueries(searcher.encode)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What `GET /v1/corpus` answers; counted when first asked for."""
        return describe_corpus(self.corpus, self.searcher.index, self.model.name, self.model.dim)

    @property
    def snapshot_age(self) -> float:
        """Seconds since the snapshot was made; 0 where it does not say when."""
        created = self.corpus.snapshot.created
        if not created:
            return 0.0
        made = datetime.fromisoformat(created)
        made = made if made.tzinfo else made.replace(tzinfo=UTC)
        return max(0.0, (datetime.now(UTC) - made).total_seconds())

    def open_files(self) -> None:
        """Open every file of the index now: what is damaged is told before it serves.

        Raises:
          CorpusError: if a file is missing or not what index.json says.
        """
        index = self.searcher.index
        try:
            index.forms.counts()
            for shard in index.shards.values():
                for _ in (shard.tokens, shard.sentences, shard.keys, shard.lengths):
                    pass
                for _ in (shard.lines, shard.documents, shard.approximate, shard.deleted):
                    pass
                shard.sentence_documents  # noqa: B018  # a cached property
        except (OSError, ValueError) as error:
            raise CorpusError(f"the index cannot be opened: {error}") from error


@dataclass(kw_only=True)
class LiveCorpus:
    """Holds what is served now, and looks for what is newer.

    Attributes:
      settings: of the server.
      observe: is told of every batch of the model.
      served: the snapshot in service; None while loading.
      problem: why the newest snapshot is not served; None if it is, or there is none newer.
      tell: who tells senses that no request asked for lately.
    """

    settings: ServeSettings
    observe: Observe
    served: ServedCorpus | None = None
    problem: str | None = None
    tell: TellWordSenses = word_senses
    _tell_senses: SensesCache = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._tell_senses = SensesCache(self.tell)

    def load(self, corpus: Corpus) -> None:
        """Load the model and open the files of a first snapshot, and serve it.

        Raises:
          CorpusError: if the corpus, its index or its model cannot serve.
        """
        with self._lock:
            self.served = self._open(corpus)

    def refresh(self) -> bool:
        """Serve the newest snapshot if it is newer; keep the old one where the new is damaged.

        Returns:
          whether another snapshot is in service now.
        """
        with self._lock:
            served = self.served
            if served is None:
                return False
            try:
                newest = served.corpus.refresh()
                if newest.snapshot.number == served.corpus.snapshot.number:
                    self.problem = None
                    return False
                self.served = self._open(newest)
            except (CorpusError, OSError, ValueError) as error:
                self._complain(str(error))
                return False
            self.problem = None
        if self.served.model is not served.model:
            # Requests under way still ask the old model; after their time nobody does.
            later = threading.Timer(self.settings.max_seconds, served.model.batches.close)
            later.daemon = True
            later.start()
        logger.info("now serving snapshot %d", self.served.corpus.snapshot.number)
        return True

    def _complain(self, problem: str) -> None:
        if problem != self.problem and self.served is not None:
            number = self.served.corpus.snapshot.number
            logger.warning(
                "a newer snapshot cannot be served, so snapshot %d is still served: %s",
                number,
                problem,
            )
        self.problem = problem

    def _open(self, corpus: Corpus) -> ServedCorpus:
        model = self._model_of(corpus)
        searcher = open_searcher(
            corpus,
            cache_dir=self.settings.cache_dir,
            tell_senses=self._tell_senses,
            encoder=QueryEncoder(corpus, loaded=model.batches, notes=model.notes),
        )
        served = ServedCorpus(corpus, searcher, model, self._tell_senses)
        served.open_files()
        searcher.encoder.encode("ready")  # the tokenizer too is loaded before anybody waits for it
        return served

    def _model_of(self, corpus: Corpus) -> LoadedModel:
        """Return the model in service if the corpus's vectors are its, or load another."""
        if self.served is not None and self.served.model.fingerprint == corpus.fingerprint:
            return self.served.model
        name, device = self.settings.model, self.settings.device
        encoder = QueryEncoder(corpus, model=name, device=device)
        elmo: Any = QueryEncoder(corpus, model=name, device=device, batches=True).model
        model: Model = elmo
        if device in ("auto", "cpu"):
            model = ModelByCount(encoder.model, elmo)
        else:
            encoder = QueryEncoder(corpus, loaded=elmo)
        return LoadedModel(
            name=str(corpus.segments[0].model["name"]),
            dim=int(elmo.dim),
            fingerprint=corpus.fingerprint,
            batches=MicroBatches(model, self.settings.batch_tokens, self.observe),
            notes=tuple(encoder.notes),
        )
