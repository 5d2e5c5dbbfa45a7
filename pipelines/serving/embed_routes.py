"""POST routes for vectors: /v1/embeddings as OpenAI's, /embed and /embed_all as TEI's.

TEI is text-embeddings-inference.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from pipelines.errors import UsageError
from pipelines.serving.live_corpus import ServedCorpus
from pipelines.serving.micro_batches import BatchResult
from pipelines.serving.problems import AbsentModel, MalformedRequest, TooLarge
from pipelines.serving.search_routes import Handler, Service, answer
from pipelines.serving.settings import ServeSettings


@dataclass(frozen=True, kw_only=True)
class TextsRequest:
    """What a request for vectors says.

    Attributes:
      texts: to embed; each is read as one sentence.
      normalize: return vectors of length 1.
      truncate: cut a text that is too long instead of refusing it.
      base64: write vectors as base64 of little-endian float32.
    """

    texts: tuple[str, ...]
    normalize: bool = True
    truncate: bool = False
    base64: bool = False


async def read_object(request: Request, known: tuple[str, ...]) -> dict[str, Any]:
    """Read the body: a JSON object with known fields only.

    Raises:
      MalformedRequest: if it is anything else.
    """
    body = await request.body()
    try:
        fields = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise MalformedRequest(f"the body is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise MalformedRequest(
            f"the body is a JSON {_kind(fields)}, expected an object with {', '.join(known)}"
        )
    unknown = sorted(set(fields) - set(known))
    if unknown:
        raise MalformedRequest(f"unknown field {unknown[0]!r}; the fields are {', '.join(known)}")
    return fields


def read_openai(fields: dict[str, Any], served: ServedCorpus) -> TextsRequest:
    """Read the fields of OpenAI's POST /v1/embeddings.

    Raises:
      AbsentModel: if another model is asked for than the one served.
      MalformedRequest, UsageError: if a field cannot be read, or means nothing here.
    """
    model = fields.get("model")
    if model is not None and model != served.model.name:
        raise AbsentModel(f"model is {model!r}, but this server has {served.model.name!r}")
    encoding = fields.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise UsageError(f"encoding_format is {encoding!r}; expected float or base64")
    dimensions = fields.get("dimensions")
    if dimensions is not None and (isinstance(dimensions, bool) or dimensions != served.model.dim):
        raise UsageError(
            f"dimensions is {dimensions!r}; this model's vectors have {served.model.dim}"
        )
    user = fields.get("user")
    if user is not None and not isinstance(user, str):
        raise MalformedRequest(f"user is a JSON {_kind(user)}, expected a string")
    return TextsRequest(texts=_texts(fields, "input"), base64=encoding == "base64")


def read_tei(fields: dict[str, Any], *, normalize: bool) -> TextsRequest:
    """Read the fields of text-embeddings-inference's POST /embed and /embed_all.

    Raises:
      MalformedRequest, UsageError: if a field cannot be read, or means nothing here.
    """
    return TextsRequest(
        texts=_texts(fields, "inputs"),
        normalize=_boolean(fields, "normalize", normalize),
        truncate=_boolean(fields, "truncate", False),
    )


def _boolean(fields: dict[str, Any], name: str, default: bool) -> bool:
    value = fields.get(name, default)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise MalformedRequest(f"{name} is a JSON {_kind(value)}, expected true or false")
    return value


def _texts(fields: dict[str, Any], name: str) -> tuple[str, ...]:
    value = fields.get(name)
    texts = [value] if isinstance(value, str) else value
    if name not in fields:
        raise MalformedRequest(f"{name} is missing: a text, or a list of texts")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise MalformedRequest(f"{name} must be a text or a list of texts (no token numbers)")
    if not texts:
        raise UsageError(f"{name} is empty; give at least one text")
    for number, text in enumerate(texts):
        if not text.strip():
            raise UsageError(f"text {number} of {name} is empty; give at least one word")
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise UsageError(
                f"text {number} of {name} holds a lone surrogate, which is not valid Unicode"
            )
    return tuple(texts)


def _kind(value: Any) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def tokenize(served: ServedCorpus, asked: TextsRequest, settings: ServeSettings) -> list[list[str]]:
    """Return the tokens of each text, within the server's limits.

    Raises:
      TooLarge: if all texts together have too many tokens.
    """
    sentences = []
    for text in asked.texts:
        tokens = [text[start:end] for start, end in served.searcher.encoder.tokens(text)]
        sentences.append(tokens[: settings.max_tokens] if asked.truncate else tokens)
    total = sum(map(len, sentences))
    if total > settings.max_tokens:
        raise TooLarge(
            f"the texts have {total:,} tokens, more than the {settings.max_tokens:,} that one"
            " request may have (--max-tokens); send fewer texts at once"
        )
    return sentences


def _encode(
    served: ServedCorpus, asked: TextsRequest, settings: ServeSettings
) -> tuple[BatchResult, list[list[str]]]:
    sentences = tokenize(served, asked, settings)
    options = served.corpus.segments[0].options
    batches = served.model.batches
    return batches.embed(sentences, options["layer_weights"], options["pooling"]), sentences


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)


def _sentence_vectors(result: BatchResult, asked: TextsRequest) -> NDArray[np.float32]:
    vectors = result.sentence_vectors
    return _unit(vectors) if asked.normalize else vectors


def openai_route(service: Service) -> Handler:
    """POST /v1/embeddings: sentence vectors in the shape of OpenAI's API."""
    known = ("input", "model", "encoding_format", "dimensions", "user")

    async def embeddings(request: Request) -> Response:
        served = service.served()
        asked = read_openai(await read_object(request, known), served)
        return await service.encode(_openai_answer, served, asked, service.settings)

    return embeddings


def _openai_answer(served: ServedCorpus, asked: TextsRequest, settings: ServeSettings) -> Response:
    result, sentences = _encode(served, asked, settings)
    count = sum(map(len, sentences))
    data = [
        {"object": "embedding", "index": i, "embedding": _written(vector, asked)}
        for i, vector in enumerate(_sentence_vectors(result, asked))
    ]
    usage = {"prompt_tokens": count, "total_tokens": count}
    content = {"object": "list", "data": data, "model": served.model.name, "usage": usage}
    return answer(served, content)


def _written(vector: NDArray[np.float32], asked: TextsRequest) -> list[float] | str:
    if asked.base64:
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return list(vector.tolist())


def embed_route(service: Service) -> Handler:
    """POST /embed: sentence vectors, a list of numbers a text."""
    known = ("inputs", "normalize", "truncate")
    return _tei_route(
        service, known, lambda result, asked: _sentence_vectors(result, asked).tolist()
    )


def embed_all_route(service: Service) -> Handler:
    """POST /embed_all: the vectors of all tokens of each text, as the model gives them."""
    known = ("inputs", "truncate")

    def all_tokens(result: BatchResult, _: TextsRequest) -> list[Any]:
        spans = zip(result.offsets[:-1], result.offsets[1:], strict=True)
        return [result.token_vectors[start:end].tolist() for start, end in spans]

    return _tei_route(service, known, all_tokens)


def _tei_route(
    service: Service,
    known: tuple[str, ...],
    write: Callable[[BatchResult, TextsRequest], list[Any]],
) -> Handler:
    async def embed(request: Request) -> Response:
        served = service.served()
        asked = read_tei(await read_object(request, known), normalize=True)
        return await service.encode(_embed, served, asked)

    def _embed(served: ServedCorpus, asked: TextsRequest) -> Response:
        result, _ = _encode(served, asked, service.settings)
        return answer(served, write(result, asked))

    return embed
