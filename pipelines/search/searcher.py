"""Search a corpus by sense: a query's word against its occurrences, or sentence against sentences.

The model is loaded at the first query; a Searcher keeps it, and the files it opened.
"""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipelines.corpus.view import CorpusView
from pipelines.errors import UsageError
from pipelines.index.centering import normalize
from pipelines.index.exact import Floats
from pipelines.index.reader import OpenIndex, OpenShard
from pipelines.search.checks import check_filters, check_has_tokens, refuse_word_options
from pipelines.search.context_words import ContextWeights, ContextWords
from pipelines.search.examples import find_example
from pipelines.search.hits import Hit, Hits, sort_hits
from pipelines.search.line_reader import Identity, LineReader, LocatedHit, by_score
from pipelines.search.occurrences import WordForms, choose_forms, join_forms, scan_unindexed
from pipelines.search.options import SearchOptions
from pipelines.search.query_encoder import EncodedQuery, QueryEncoder
from pipelines.search.scoring import Scorer, Target
from pipelines.search.word_search import TellSenses, WordSearch, best_of_scanned
from pipelines.text.normal_forms import folded_form
from schemas import table_of

NEGATIVE_WEIGHT = 0.5  # of Rocchio's formula; 0.15 to 0.5 are usual


class Searcher:
    """Searches one snapshot of a corpus; keeps the model, the index and its files open.

    Args:
      corpus: an open corpus with an index.
      tell_senses: returns the senses of a word's forms.
      encoder: turns queries into vectors as the corpus was made.
      cache_dir: for files of a remote index.
    """

    def __init__(
        self,
        corpus: CorpusView,
        *,
        tell_senses: TellSenses,
        encoder: QueryEncoder,
        cache_dir: str | None = None,
    ) -> None:
        self.corpus = corpus
        self._tell_senses = tell_senses
        self.index = OpenIndex.open(corpus, cache_dir)
        self.lines = LineReader(self.index)
        self.encoder = encoder
        self.context_words = ContextWords(self.index)
        self.scorer = Scorer(self.index, self.context_words)
        self.words = WordSearch(self.index, self.scorer, tell_senses)

    # --- the kinds of search -----------------------------------------------------------------

    def search(self, query: str, options: SearchOptions) -> Hits:
        """Search for a query; a bracketed word searches words, none sentences.

        Raises:
          UsageError: if the query or an option cannot mean anything.
          CorpusError: if the model, the corpus or the index cannot serve.
        """
        started = time.perf_counter()
        encoded = self.encode(query)
        hits = self.search_encoded(query, encoded, options)
        hits.encode_ms = 1000 * (time.perf_counter() - started) - hits.search_ms
        return hits

    def encode(self, query: str) -> EncodedQuery:
        """Encode a query for `search_encoded`.

        Raises:
          UsageError: if it is malformed.
          CorpusError: if it has a bracketed word and the corpus no token vectors.
        """
        if "[" in query.replace("\\[", ""):
            check_has_tokens(self.index)
        return self.encoder.encode(query)

    def forms_with_senses(self, encoded: EncodedQuery, options: SearchOptions) -> WordForms | None:
        """Return the forms whose senses `search_encoded` will ask for; None if it will not."""
        told = options.senses or options.sense is not None
        if encoded.word is None or encoded.token_vector is None or not told:
            return None
        forms = self._forms(encoded.word, encoded.token_index == 0, options)
        return forms if forms is not None and forms.indexed else None

    def search_encoded(self, query: str, encoded: EncodedQuery, options: SearchOptions) -> Hits:
        """Do as `search` with a query that is encoded already."""
        hits = Hits([], query=query, word=encoded.word)
        hits.notes += encoded.notes
        hits.query_tokens, hits.query_attention = encoded.tokens, encoded.attention
        if encoded.several:
            hits.notes.append("the query has several sentences; they were read as one")
        sentence = self._center("sentences", encoded.sentence_vector)
        if encoded.word is None or encoded.token_vector is None:
            refuse_word_options(options)
            target = Target(table="sentences", vector=sentence, sentence_vector=None)
            return self._finish(hits, target, None, options)
        vector = self._center("tokens", encoded.token_vector)
        forms = self._forms(encoded.word, encoded.token_index == 0, options)
        target = Target(
            table="tokens",
            vector=vector,
            sentence_vector=sentence,
            context=self._context(encoded.tokens, forms),
        )
        return self._finish(hits, target, forms, options)

    def like(
        self, vector_ids: Sequence[int], options: SearchOptions, *, unlike: Sequence[int] = ()
    ) -> Hits:
        """Search for more like some lines, and less like others (Rocchio 1971).

        Args:
          vector_ids: of tokens (then their forms are searched), or of sentences; not both.
          options: of the search.
          unlike: of lines that are not meant.

        Raises:
          UsageError: if an id is not in the corpus, or tokens and sentences are mixed.
        """
        if not vector_ids:
            raise UsageError("give at least one vector_id to search for more like it")
        tables = {table_of(vector_id) for vector_id in (*vector_ids, *unlike)}
        if len(tables) > 1:
            raise UsageError("the examples are tokens and sentences; give ids of only one kind")
        [table] = tables
        examples = {
            i: find_example(self.index, self.scorer, table, i) for i in (*vector_ids, *unlike)
        }
        vector = _rocchio(
            [examples[i].vector for i in vector_ids], [examples[i].vector for i in unlike]
        )
        sentence = _rocchio(
            [examples[i].sentence for i in vector_ids], [examples[i].sentence for i in unlike]
        )
        words = sorted({examples[i].form for i in vector_ids})
        named = " ".join(str(vector_id) for vector_id in vector_ids)
        hits = Hits([], query=f"like {named}", word=words[0] if table == "tokens" else None)
        target = Target(
            table=table,
            vector=vector,
            sentence_vector=sentence,
            excluded=frozenset(examples),
        )
        if table == "sentences":
            refuse_word_options(options)
            return self._finish(hits, target, None, options)
        chosen = [choice for word in words if (choice := self._forms(word, False, options))]
        forms = join_forms(chosen) if chosen else None
        contexts = {i: self._context(example.tokens, forms) for i, example in examples.items()}
        context = ContextWeights.rocchio(
            [contexts[i] for i in vector_ids], [contexts[i] for i in unlike], NEGATIVE_WEIGHT
        )
        return self._finish(hits, replace(target, context=context), forms, options)

    # --- steps -------------------------------------------------------------------------------

    def _center(self, table: str, vector: Floats) -> Floats:
        return self.index.centering[table].apply(vector[None])[0]

    def _forms(self, word: str, first: bool, options: SearchOptions) -> WordForms | None:
        if options.any_word:
            return None
        return choose_forms(
            self.index,
            word,
            fold_case=options.fold_case,
            inflected=options.inflections,
            starts_sentence=first,
        )

    def _context(self, tokens: Sequence[str], forms: WordForms | None) -> ContextWeights:
        """Weigh the words of a sentence around a word; none count where all words are searched."""
        if forms is None or not self.scorer.context_weight:
            return ContextWeights(weights={})
        own = {forms.word, *forms.word.split(" "), *forms.counts, *(forms.forms or ())}
        return self.context_words.of(tokens, {folded_form(form) for form in own})

    def _finish(
        self, hits: Hits, target: Target, forms: WordForms | None, options: SearchOptions
    ) -> Hits:
        started = time.perf_counter()
        if self.index.unindexed:
            newer = len(self.index.unindexed)
            hits.notes.append(
                f"{newer} segment{' is' if newer == 1 else 's are'} newer than the index and"
                f" {'was' if newer == 1 else 'were'} scanned; sensegrep index adds"
                f" {'it' if newer == 1 else 'them'}"
            )
        check_filters(self.index, options)
        if forms is not None:
            hits.notes += forms.notes
            hits.forms = forms.counts
        hits += self._choose(self._nearest(hits, target, forms, options), options, hits)
        if options.sort != "score":
            sort_hits(hits, options.sort)
        hits.search_ms = 1000 * (time.perf_counter() - started)
        return hits

    def _nearest(
        self, hits: Hits, target: Target, forms: WordForms | None, options: SearchOptions
    ) -> list[Hit]:
        """Return the k nearest lines, identical ones as one unless they are to be unfolded."""
        wanted = options.k + (0 if options.unfold else 1)  # one more tells whether a fold goes on
        known: dict[int, Identity] = {}
        while True:
            hits.compared = 0
            asked = replace(options, k=wanted)
            if forms is None:
                found = self._everything(target, asked, hits)
            else:
                found = self.words.search(target, forms, asked, hits)
            found = [one for one in found if one.vector_id not in target.excluded][:wanted]
            if options.unfold:
                groups = [(one, 1) for one in found]
            else:
                groups = self.lines.fold(found, target.table, known)
            if options.unfold or len(found) < wanted or len(groups) > options.k:
                firsts = [first for first, _ in groups[: options.k]]
                lines = self.lines.hits(firsts, target.table, (options.left, options.right))
                return [
                    replace(line, copies=copies) if copies > 1 else line
                    for line, (_, copies) in zip(lines, groups, strict=False)
                ]
            wanted *= 64  # many copies: few rounds

    def _everything(self, target: Target, options: SearchOptions, hits: Hits) -> list[LocatedHit]:
        """Search all tokens or sentences: in the index, and in segments that it lacks."""
        wanted = options.k + len(target.excluded)
        keys = self.index.shards
        found = [
            LocatedHit(
                match.score,
                self._vector_id(target.table, keys[match.shard], match.position),
                match.shard,
                match.position,
                {},
                "",
                None,
            )
            for match in self.index.nearest(
                target.table, target.vector, wanted, filters=options.filters
            )
        ]
        hits.compared = sum(shard.shard.rows[target.table] for shard in keys.values())
        for scanned in scan_unindexed(self.index, target.table, None, options.filters):
            hits.compared += len(scanned.vectors)
            scores = scanned.vectors @ target.vector
            found += best_of_scanned(scanned, scores, None, wanted)
            found = sorted(found, key=by_score)[:wanted]
        return found

    def _vector_id(self, table: str, shard: OpenShard, position: int) -> int:
        if table == "tokens":
            return int(shard.keys["vector_id"][position])
        return int(shard.lines.row(position)["vector_id"])

    def _choose(self, found: Sequence[Hit], options: SearchOptions, hits: Hits) -> list[Hit]:
        """Leave out low scores; sample."""
        kept = list(found)
        if options.min_score is not None:
            above = [f for f in kept if f.score >= options.min_score]
            if len(above) < len(kept):
                hits.notes.append(
                    f"{len(kept) - len(above)} of the nearest {len(kept)} lines score below"
                    f" {options.min_score} and were left out"
                )
            kept = above
        if options.sample is not None and options.sample < len(kept):
            rng = np.random.default_rng(options.seed)
            chosen = np.sort(rng.choice(len(kept), options.sample, replace=False))
            hits.notes.append(
                f"{options.sample} lines chosen at random of the nearest {len(kept)}"
                f" (seed {options.seed})"
            )
            kept = [kept[i] for i in chosen]
        return kept


def _rocchio(like: Sequence[Floats], unlike: Sequence[Floats]) -> Floats:
    """Return the direction from what is not meant to what is, [D] of length 1 (Rocchio 1971)."""
    vector = np.mean(like, axis=0)
    if unlike:
        vector = vector - NEGATIVE_WEIGHT * np.mean(unlike, axis=0)
    return normalize(vector[None].astype(np.float32))[0]
