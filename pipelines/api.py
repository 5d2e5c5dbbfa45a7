"""The public class `Corpus`: open, read and search a corpus, and find the senses of a word.

corpus = Corpus.open("my-corpus")
hits = corpus.search("They sat on the [bank] of the river", k=10)
hits[0].left, hits[0].node, hits[0].right
"""

from typing import Any

from pipelines.corpus.view import CorpusView
from pipelines.search.hits import Hits
from pipelines.search.options import make_options
from pipelines.search.query_encoder import QueryEncoder
from pipelines.search.searcher import Searcher
from pipelines.search.word_search import TellSenses
from pipelines.senses.lines import describe_senses
from pipelines.senses.options import SenseOptions
from pipelines.senses.service import word_senses
from pipelines.senses.store import WordSenses


class Corpus(CorpusView):
    """One snapshot of a corpus: `open` it, `read` its tables, `search` it, find `senses` of a word.

    An instance never changes; `refresh` returns the newest snapshot.
    """

    _searcher: Searcher | None = None

    def search(
        self,
        query: str,
        *,
        model: str | None = None,
        device: str = "auto",
        cache_dir: str | None = None,
        **options: Any,
    ) -> Hits:
        """Search by sense. The first search of an instance loads the model.

        Args:
          query: a sentence, with one word in [brackets] to search by its sense.
          model: path or URL of the model, if it is not where the corpus says.
          device: auto, cpu, cuda or cuda:N.
          cache_dir: directory for files of a remote index.
          **options: fields of SearchOptions: k, any_word, fold_case, inflections, filters,
            min_score, sense, senses, left, right, sort, sample, seed, unfold, plain_ranking.

        Returns:
          a list of Hit, best first, with `notes`, `senses`, `to_arrow()` and more; see Hits.

        Raises:
          UsageError: if the query or an option is not valid.
          CorpusError: if the corpus, its index or its model cannot be used.
        """
        chosen = make_options(options)
        if self._searcher is None or (model, device, cache_dir) != (None, "auto", None):
            self._searcher = open_searcher(self, model=model, device=device, cache_dir=cache_dir)
        return self._searcher.search(query, chosen)

    def senses(
        self,
        word: str,
        *,
        fold_case: bool = False,
        inflections: bool = False,
        options: SenseOptions | None = None,
        cache_dir: str | None = None,
    ) -> WordSenses:
        """Return the senses of a word: those stored beside the index, or else found now and stored.

        Args:
          word: the word as it is spelled in the text.
          fold_case: also forms that differ in upper and lower case only.
          inflections: also simple inflections, in upper and lower case.
          options: smallest share and largest number of senses, and whether to split in any case.
          cache_dir: directory for files of a remote index.

        Raises:
          UsageError: if the word is not in the index; the message names the nearest forms.
          CorpusError: if there is no index, or it has no token vectors.
        """
        described = describe_senses(
            self,
            word,
            fold_case=fold_case,
            inflections=inflections,
            options=options,
            cache_dir=cache_dir,
        )
        return described.senses

    def __getstate__(self) -> dict[str, Any]:
        # A loaded model and open files stay here.
        return {name: value for name, value in vars(self).items() if name != "_searcher"}


def open_searcher(
    corpus: CorpusView,
    *,
    model: str | None = None,
    device: str = "auto",
    cache_dir: str | None = None,
    tell_senses: TellSenses = word_senses,
    encoder: QueryEncoder | None = None,
) -> Searcher:
    """Open the index of a corpus for searches; the first query loads the model.

    Args:
      corpus: an open corpus.
      model: where the model is now, if it moved.
      device: auto, cpu, cuda or cuda:N.
      cache_dir: for files of a remote index.
      tell_senses: tells the senses of a word, such as a cache of `word_senses`.
      encoder: of an earlier searcher, whose model is used again; it must fit the corpus.

    Raises:
      CorpusError: if there is no index, or it cannot be read.
    """
    return Searcher(
        corpus,
        tell_senses=tell_senses,
        encoder=encoder or QueryEncoder(corpus, model=model, device=device),
        cache_dir=cache_dir,
    )
