"""The API in OpenAPI 3.1, written from the tables that requests are parsed by."""

from typing import Any

from pipelines.serving import parameters
from pipelines.serving.parameters import Parameter
from pipelines.serving.settings import ServeSettings
from pipelines.version import version

Schema = dict[str, Any]
STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
COUNTS: Schema = {"type": "object", "additionalProperties": INTEGER}
STRINGS: Schema = {"type": "object", "additionalProperties": STRING}


def array(items: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


def fields(required: Schema, **optional: Schema) -> Schema:
    """Return the schema of an object; what it may lack stands in `optional`."""
    properties = {**required, **optional}
    return {"type": "object", "properties": properties, "required": list(required)}


def ref(name: str) -> Schema:
    """Return a reference to a named schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def or_null(kind: str) -> Schema:
    """Return the schema of a value that may be null."""
    return {"type": [kind, "null"]}


HIT = fields(
    {
        "score": NUMBER,
        "vector_id": STRING,
        "doc_id": STRING,
        "sentence_index": INTEGER,
        "token_index": or_null("integer"),
        "left": STRING,
        "node": STRING,
        "right": STRING,
        "sense": or_null("integer"),
        "metadata": STRINGS,
        "tokens": array(STRING),
        "attention": array(NUMBER),
        "copies": INTEGER,
    }
)
SENSE = fields(
    {
        "number": INTEGER,
        "size": INTEGER,
        "share": NUMBER,
        "quality": NUMBER,
        "labels": array(STRING),
        "prototypes": array(STRING),
    },
    lines=array(ref("Hit")),
)
SCHEMAS: dict[str, Schema] = {
    "Error": fields(
        {"error": fields({"status": INTEGER, "type": STRING, "message": STRING}, nearest=COUNTS)}
    ),
    "Hit": HIT,
    "Sense": SENSE,
    "SearchResult": fields(
        {
            "query": STRING,
            "word": or_null("string"),
            "forms": COUNTS,
            "compared": INTEGER,
            "hits": array(ref("Hit")),
            "senses": {"oneOf": [array(ref("Sense")), {"type": "null"}]},
            "notes": array(STRING),
            "nearest": COUNTS,
            "query_tokens": array(STRING),
            "query_attention": array(NUMBER),
        }
    ),
    "WordSenses": fields(
        {
            "word": STRING,
            "forms": COUNTS,
            "occurrences": INTEGER,
            "surety": {"type": ["number", "null"]},
            "gain": NUMBER,
            "senses": array(ref("Sense")),
            "notes": array(STRING),
        }
    ),
    "SensesMap": fields(
        {
            "word": STRING,
            "forms": COUNTS,
            "occurrences": INTEGER,
            "points": array(
                fields(
                    {
                        "vector_id": STRING,
                        "x": NUMBER,
                        "y": NUMBER,
                        "sense": INTEGER,
                        "doc_id": STRING,
                        "sentence_index": INTEGER,
                        "left": STRING,
                        "node": STRING,
                        "right": STRING,
                    }
                )
            ),
        }
    ),
    "Document": fields(
        {
            "doc_id": STRING,
            "metadata": STRINGS,
            "first": INTEGER,
            "last": INTEGER,
            "sentences": array(
                fields(
                    {
                        "sentence_index": INTEGER,
                        "start": INTEGER,
                        "text": STRING,
                        "tokens": array(STRING),
                        "attention": array(NUMBER),
                    }
                )
            ),
        }
    ),
    "Tokens": fields({"tokens": array(fields({"start": INTEGER, "end": INTEGER}))}),
    "Corpus": fields(
        {
            "snapshot": INTEGER,
            "created": or_null("string"),
            "index": STRING,
            "unindexed_segments": INTEGER,
            "documents": INTEGER,
            "sentences": INTEGER,
            "tokens": INTEGER,
            "token_vectors": INTEGER,
            "rejected_sentences": INTEGER,
            "rejects": INTEGER,
            "model": fields({"name": STRING, "dim": INTEGER, "fingerprint": STRING}),
            "tokens_embedded": or_null("string"),
            "language": or_null("string"),
            "metadata": array(
                fields(
                    {
                        "key": STRING,
                        "documents": INTEGER,
                        "values": array(fields({"value": STRING, "documents": INTEGER})),
                        "complete": {"type": "boolean"},
                    }
                )
            ),
            "limits": fields({"query_chars": INTEGER, "k": INTEGER, "tokens": INTEGER}),
        }
    ),
    "Embeddings": fields(
        {
            "object": {"const": "list"},
            "data": array(
                fields(
                    {
                        "object": {"const": "embedding"},
                        "index": INTEGER,
                        "embedding": {"oneOf": [array(NUMBER), STRING]},
                    }
                )
            ),
            "model": STRING,
            "usage": fields({"prompt_tokens": INTEGER, "total_tokens": INTEGER}),
        }
    ),
    "SentenceVectors": array(array(NUMBER)),
    "TokenVectors": array(array(array(NUMBER))),
    "Status": fields({"status": STRING}),
    "Readiness": fields(
        {"status": STRING, "snapshot": or_null("integer"), "problem": or_null("string")}
    ),
}

TEXT: Schema = {"type": "string", "minLength": 1}
TEXTS: Schema = {"oneOf": [TEXT, {**array(TEXT), "minItems": 1}]}
BOOLEAN: Schema = {"type": "boolean"}


def _body(required: Schema, **optional: Schema) -> Schema:
    schema = {**fields(required, **optional), "additionalProperties": False}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


BODIES = {
    "/v1/embeddings": _body(
        {"input": TEXTS},
        model=STRING,
        encoding_format={"enum": ["float", "base64"]},
        dimensions=INTEGER,
        user=STRING,
    ),
    "/embed": _body({"inputs": TEXTS}, normalize=BOOLEAN, truncate=BOOLEAN),
    "/embed_all": _body({"inputs": TEXTS}, truncate=BOOLEAN),
}
# Path: summary, parameters, the answer's schema.
GETS: dict[str, tuple[str, tuple[Parameter, ...], str]] = {
    "/v1/search": (
        "Search by the sense of a word, or by sentence",
        parameters.SEARCH,
        "SearchResult",
    ),
    "/v1/senses": ("The senses of a word, with example lines", parameters.SENSES, "WordSenses"),
    "/v1/senses/map": ("A word's occurrences as points", parameters.SENSES_MAP, "SensesMap"),
    "/v1/document": ("A document around a line", parameters.DOCUMENT, "Document"),
    "/v1/tokens": ("Where the tokens of a text are", parameters.TOKENS, "Tokens"),
    "/v1/corpus": ("What the corpus holds, and the server's limits", (), "Corpus"),
}
POSTS = {
    "/v1/embeddings": ("Sentence vectors, in the shape of OpenAI's API", "Embeddings"),
    "/embed": ("Sentence vectors, as text-embeddings-inference", "SentenceVectors"),
    "/embed_all": ("All token vectors, as text-embeddings-inference", "TokenVectors"),
}
_ERRORS = {
    "400": "cannot be read",
    "401": "no key, or a wrong one",
    "403": "a page of another origin",
    "404": "no such word, document or model",
    "413": "above a limit of the server",
    "422": "can be read, but means nothing here",
    "429": "as many requests are in work as the server takes; Retry-After says when to ask again",
    "500": "the server or its corpus is at fault",
    "503": "loading, or took too long; Retry-After says when to ask again",
}


def describe_api(settings: ServeSettings) -> Schema:
    """Return the OpenAPI document of a server."""
    paths: Schema = {}
    for path, (summary, known, schema) in GETS.items():
        paths[path] = {"get": _operation(path, summary, schema, known, settings)}
    for path, (summary, schema) in POSTS.items():
        operation = _operation(path, summary, schema, (), settings)
        operation["requestBody"] = BODIES[path]
        operation["responses"]["408"] = _error("the body came too slowly")
        paths[path] = {"post": operation}
    paths |= _operations_paths(settings)
    document: Schema = {
        "openapi": "3.1.0",
        "info": {
            "title": "sensegrep",
            "summary": "Search a corpus by the sense of a word; embed text.",
            "version": version(),
        },
        "paths": paths,
        "components": {"schemas": SCHEMAS},
    }
    if settings.api_key is not None:
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return document


def _operation(
    path: str, summary: str, schema: str, known: tuple[Parameter, ...], settings: ServeSettings
) -> Schema:
    found: Schema = {
        "summary": summary,
        "operationId": path.strip("/").replace("/", "_").removeprefix("v1_"),
        "parameters": [_parameter(parameter, settings) for parameter in known],
        "responses": {
            "200": _content(summary, "application/json", ref(schema)),
            **{status: _error(text) for status, text in _ERRORS.items()},
        },
    }
    if settings.api_key is not None:
        found["security"] = [{"key": []}]
    return found


def _parameter(parameter: Parameter, settings: ServeSettings) -> Schema:
    schema = parameter.schema()
    if parameter.name == "k":
        schema["maximum"] = settings.max_k
    if parameter.kind == "string" and not parameter.choices:
        (schema["items"] if parameter.repeated else schema)["maxLength"] = settings.max_query_chars
    return {
        "name": parameter.name,
        "in": "query",
        "required": parameter.required,
        "description": parameter.summary,
        "schema": schema,
    }


def _content(summary: str, media: str, schema: Schema) -> Schema:
    return {"description": summary, "content": {media: {"schema": schema}}}


def _error(text: str) -> Schema:
    return _content(text, "application/json", ref("Error"))


def _operations_paths(settings: ServeSettings) -> Schema:
    def get(summary: str, media: str, schema: Schema, **more: Schema) -> Schema:
        responses = {"200": _content(summary, media, schema), **more}
        return {"get": {"summary": summary, "responses": responses}}

    refused = {"400": _error(_ERRORS["400"]), "403": _error(_ERRORS["403"])}
    loading = _content("Loading", "application/json", ref("Readiness"))
    found = {
        "/": get("The search page", "text/html", STRING, **refused),
        "/healthz": get("The process answers", "application/json", ref("Status"), **refused),
        "/readyz": get(
            "The model is loaded",
            "application/json",
            ref("Readiness"),
            **refused,
            **{"503": loading},
        ),
        "/metrics": get(
            "Metrics for Prometheus",
            "text/plain",
            STRING,
            **refused,
            **{"401": _error(_ERRORS["401"])},
        ),
        "/openapi.json": get("This document", "application/json", {"type": "object"}, **refused),
    }
    if settings.api_key is not None:
        found["/metrics"]["get"]["security"] = [{"key": []}]
    return found
