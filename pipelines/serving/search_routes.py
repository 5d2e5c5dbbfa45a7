"""GET routes over the corpus: search, senses and their map, document, tokens, corpus."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import perf_counter
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from pipelines.errors import UsageError
from pipelines.search.document_view import read_document
from pipelines.search.hits import Hits
from pipelines.search.occurrences import WordForms
from pipelines.search.options import SearchOptions
from pipelines.search.query_encoder import EncodedQuery
from pipelines.senses.lines import DescribedSenses, describe_senses_in
from pipelines.senses.map import map_points
from pipelines.serving import parameters
from pipelines.serving.live_corpus import LiveCorpus, ServedCorpus
from pipelines.serving.metrics import Metrics
from pipelines.serving.parameters import Parameter, read_parameters, search_options
from pipelines.serving.problems import Loading, MalformedRequest, json_response
from pipelines.serving.settings import ServeSettings

Result = TypeVar("Result")
Handler = Callable[[Request], Awaitable[Response]]

# Threads that mostly wait for the model; as many queries may be in one batch.
ENCODERS = 32
# Threads that mostly wait for the senses of words.
SENSE_TELLERS = 64


class Service:
    """What every route needs: the corpus, the limits, threads to work in.

    Args:
      settings: of the server.
      live: the corpus.
      metrics: where times are counted.
      scanners: threads that compare vectors.
    """

    def __init__(
        self, settings: ServeSettings, live: LiveCorpus, metrics: Metrics, scanners: int = 4
    ) -> None:
        self.settings, self.live, self.metrics = settings, live, metrics
        self._encoders = ThreadPoolExecutor(ENCODERS, thread_name_prefix="encode")
        self._scanners = ThreadPoolExecutor(scanners, thread_name_prefix="scan")
        self._tellers = ThreadPoolExecutor(SENSE_TELLERS, thread_name_prefix="senses")

    def served(self) -> ServedCorpus:
        """Return the snapshot in service.

        Raises:
          Loading: if there is none yet.
        """
        if self.live.served is None:
            raise Loading("the model is being loaded; ask again in a few seconds")
        return self.live.served

    async def encode(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Do in a thread what waits for the model."""
        started = perf_counter()
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._encoders, work, *arguments)
        finally:
            self.metrics.encode.observe(perf_counter() - started)

    async def scan(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Do in a thread what compares vectors and reads files."""
        started = perf_counter()
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._scanners, work, *arguments)
        finally:
            self.metrics.scan.observe(perf_counter() - started)

    async def tell(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Do in a thread what may wait for the senses of a word, and keeps no scan waiting."""
        started = perf_counter()
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._tellers, work, *arguments)
        finally:
            self.metrics.senses.observe(perf_counter() - started)

    def close(self) -> None:
        """Let the threads go; what is in work is finished."""
        self._tellers.shutdown(wait=True, cancel_futures=True)
        self._encoders.shutdown(wait=True, cancel_futures=True)
        self._scanners.shutdown(wait=True, cancel_futures=True)

    def read(self, request: Request, known: Sequence[Parameter]) -> dict[str, Any]:
        """Read the parameters of a GET request."""
        text = request.scope["query_string"].decode("latin-1")
        try:
            pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=1000)
        except UnicodeDecodeError as error:
            raise MalformedRequest(f"the query string is not UTF-8 ({error})") from error
        except ValueError as error:
            raise MalformedRequest("the query string has more than 1,000 parameters") from error
        return read_parameters(known, pairs, self.settings)


def answer(served: ServedCorpus, content: Any, **milliseconds: float) -> Response:
    """Return JSON, and in headers which snapshot it is from and what took how long."""
    timing = ", ".join(f"{name};dur={time:.1f}" for name, time in milliseconds.items())
    headers = {
        "Sensegrep-Snapshot": str(served.corpus.snapshot.number),
        "Cache-Control": "no-store",
    }
    if timing:
        headers["Server-Timing"] = timing
    return json_response(content, 200, headers)


def search_route(service: Service) -> Handler:
    """GET /v1/search: as `sensegrep search --json`."""

    async def search(request: Request) -> Response:
        served = service.served()
        values = service.read(request, parameters.SEARCH)
        query, like, unlike = values["q"], values["like"], values["unlike"]
        if (query is None) == (not like):
            raise UsageError("give either q, a query, or like, the vector_id of a line")
        if unlike and not like:
            raise UsageError("unlike needs like too")
        options = search_options(values, service.settings)
        searcher = served.searcher
        if like:
            work = partial(searcher.like, like, options, unlike=unlike)
            return await service.tell(_answer_hits, served, work)
        started = perf_counter()
        encoded = served.encode.kept(query)
        if encoded is None:
            encoded = await service.encode(served.encode, query)
        else:
            service.metrics.encoded_before.inc()
        encode_ms = 1000 * (perf_counter() - started)
        untold = _untold_forms(served, encoded, options)
        if untold is not None:
            await service.tell(served.tell_senses, searcher.index, untold)
        work = partial(searcher.search_encoded, query, encoded, options)
        return await service.scan(_answer_hits, served, work, encode_ms)

    return search


def _untold_forms(
    served: ServedCorpus, encoded: EncodedQuery, options: SearchOptions
) -> WordForms | None:
    """Return the forms whose senses must be waited for; None if a search waits for none."""
    forms = served.searcher.forms_with_senses(encoded, options)
    if forms is None or served.tell_senses.holds(served.searcher.index, forms):
        return None
    return forms


def _answer_hits(
    served: ServedCorpus, work: Callable[[], Hits], encode_ms: float = 0.0
) -> Response:
    """Search, and write the answer in the same thread: none of it holds up other connections."""
    hits = work()
    return answer(served, hits.to_json(), encode=encode_ms, scan=hits.search_ms)


def senses_route(service: Service) -> Handler:
    """GET /v1/senses: as `sensegrep senses --json`."""

    async def senses(request: Request) -> Response:
        served = service.served()
        values = service.read(request, parameters.SENSES)
        described = await service.tell(_describe, served, values)
        return answer(served, described.to_json())

    return senses


def senses_map_route(service: Service) -> Handler:
    """GET /v1/senses/map: occurrences of a word as points in two dimensions."""

    async def senses_map(request: Request) -> Response:
        served = service.served()
        values = service.read(request, parameters.SENSES_MAP)
        content = await service.tell(_draw_map, served, values)
        return answer(served, content)

    return senses_map


def _describe(served: ServedCorpus, values: dict[str, Any]) -> DescribedSenses:
    return describe_senses_in(
        served.searcher.index,
        values["word"],
        fold_case=bool(values["fold_case"]),
        inflections=bool(values["inflections"]),
        tell_senses=served.tell_senses,
    )


def _draw_map(served: ServedCorpus, values: dict[str, Any]) -> dict[str, Any]:
    described = _describe(served, values)
    hits, places = map_points(described, values["points"])
    points = [
        {
            "vector_id": str(hit.vector_id),
            "x": round(float(x), 5),
            "y": round(float(y), 5),
            "sense": hit.sense,
            "doc_id": hit.doc_id,
            "sentence_index": hit.sentence_index,
            "left": hit.left,
            "node": hit.node,
            "right": hit.right,
        }
        for hit, (x, y) in zip(hits, places.tolist(), strict=True)
    ]
    return {
        "word": described.senses.word,
        "forms": described.senses.forms,
        "occurrences": described.forms.indexed,
        "points": points,
    }


def document_route(service: Service) -> Handler:
    """GET /v1/document: a document around one of its sentences."""

    async def document(request: Request) -> Response:
        served = service.served()
        values = service.read(request, parameters.DOCUMENT)
        found = await service.scan(
            lambda: read_document(
                served.searcher.index,
                values["doc_id"],
                around=values["sentence_index"],
                window=values["window"],
            )
        )
        return answer(served, found.to_json())

    return document


def tokens_route(service: Service) -> Handler:
    """GET /v1/tokens: where the tokens of a text are; what may stand in brackets."""

    async def tokens(request: Request) -> Response:
        served = service.served()
        values = service.read(request, parameters.TOKENS)
        places = await service.encode(served.searcher.encoder.tokens, values["q"])
        return answer(served, {"tokens": [{"start": start, "end": end} for start, end in places]})

    return tokens


def corpus_route(service: Service) -> Handler:
    """GET /v1/corpus: counts, model, and the metadata that documents can be filtered by."""

    async def corpus(request: Request) -> Response:
        served = service.served()
        service.read(request, ())
        facts = await service.scan(lambda: served.facts)
        limits = service.settings
        content = {
            **facts,
            "limits": {
                "query_chars": limits.max_query_chars,
                "k": limits.max_k,
                "tokens": limits.max_tokens,
            },
        }
        return answer(served, content)

    return corpus
