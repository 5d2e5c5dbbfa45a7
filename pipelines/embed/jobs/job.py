"""The settings and the report of an embedding job."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipelines.embed.options import EmbedOptions, JobOptions, ModelOptions
from pipelines.embed.remarks import first_of_each_kind
from pipelines.errors import CorpusError
from pipelines.reading.documents import MAX_EXAMPLES, Reject, described
from pipelines.reading.options import InputOptions

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EmbedJob:
    """All that an embedding job is asked for.

    Attributes:
      inputs: paths, globs, URLs, or -.
      corpus: path or URL of the corpus.
      reading: how records become documents.
      model: which model, and where it runs.
      embedding: what rows are made of.
      running: how the job runs.
      single_writer: nobody else writes to the corpus.
      beam_args: flags for Beam, passed through untouched.
    """

    inputs: Sequence[str]
    corpus: str
    reading: InputOptions = field(default_factory=InputOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    embedding: EmbedOptions = field(default_factory=EmbedOptions)
    running: JobOptions = field(default_factory=JobOptions)
    single_writer: bool = False
    beam_args: Sequence[str] = ()


@dataclass(kw_only=True)
class EmbedReport:
    """What a job did.

    Attributes:
      read: documents read; always written + rejected + unchanged.
      written: committed now.
      changed: how many of them replace an older version.
      relabelled: how many of those changed in their metadata alone: their vectors were copied.
      unchanged: live already.
      rejected: records rejected, those that an earlier run recorded included.
      rejected_sentences: of written and unchanged documents.
      reasons: how many new rejects for each reason.
      examples: the first of the new rejects, in words.
      sentences: embedded now.
      tokens: of these.
      pruned: documents tombstoned because the input does not have them.
      nameless: of the rejected, records whose id is not known.
      kept: documents that would be pruned, if nameless records could not be among them.
      segments: ids of the segments added.
      seconds: that it took, the loading of the model excluded.
      model_seconds: that loading the model took.
      device: where the model ran.
      remarks: what was noticed of the input, in words, each thing once.
    """

    read: int = 0
    written: int = 0
    changed: int = 0
    relabelled: int = 0
    unchanged: int = 0
    rejected: int = 0
    rejected_sentences: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    sentences: int = 0
    tokens: int = 0
    pruned: int = 0
    nameless: int = 0
    kept: int = 0
    segments: list[str] = field(default_factory=list)
    seconds: float = 0.0
    model_seconds: float = 0.0
    device: str = ""
    remarks: list[str] = field(default_factory=list)

    def reject(self, rejects: Sequence[Reject]) -> None:
        """Count rejects by their reason, and keep the first ones in words."""
        self.reasons.update(reject.reason for reject in rejects)
        kept = rejects[: max(0, MAX_EXAMPLES - len(self.examples))]
        self.examples += [described(reject) for reject in kept]

    def prune(self, missing: int) -> bool:
        """Count the documents that the input does not have; say whether they may be pruned."""
        if self.nameless:
            self.kept = missing
        else:
            self.pruned = missing
        return missing > 0 and not self.nameless

    def remark(self, found: list[str]) -> None:
        """Keep what was noticed of documents, and log it at once."""
        for words in first_of_each_kind(found):
            self.remarks.append(words)
            logger.warning("%s", words)


def check_prunable(damaged: Sequence[str], read: int, missing: int) -> None:
    """Refuse to prune after an input that could not be read whole, or that had nothing in it.

    Args:
      damaged: files that could not be read to their end.
      read: records of the input.
      missing: documents of the corpus that are not among them.

    Raises:
      CorpusError: if so.
    """
    if damaged:
        raise CorpusError(
            f"nothing was pruned: {damaged[0]} could not be read to its end, so it is not known"
            " which documents are missing in it; what was embedded is committed. For the place"
            " and the reason, use: sensegrep info --rejects --corpus DIR"
        )
    if missing and not read:
        raise CorpusError(
            "nothing was pruned: the input has no records, and --prune would delete the whole"
            " corpus; check the input, or delete documents with:"
            " sensegrep delete DOC_ID --corpus DIR"
        )
