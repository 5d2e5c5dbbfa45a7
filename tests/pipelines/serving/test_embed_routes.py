"""Vectors over HTTP: OpenAI's and text-embeddings-inference's shapes, the model's own numbers."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elmo_infer import load

TEXTS = ["The bank gave her a loan .", "river"]


@pytest.fixture(scope="module")
def expected(tiny_elmo_dir: Path) -> Any:
    """What the model itself makes of TEXTS."""
    return load(str(tiny_elmo_dir)).embed([text.split(" ") for text in TEXTS])


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_openai_s_shape(server: Any, expected: Any) -> None:
    found = server.post("/v1/embeddings", json={"input": TEXTS}).json()
    assert found["object"] == "list"
    assert [row["index"] for row in found["data"]] == [0, 1]
    assert found["usage"] == {"prompt_tokens": 8, "total_tokens": 8}
    vectors = np.array([row["embedding"] for row in found["data"]])
    np.testing.assert_allclose(vectors, unit(expected.sentence_vectors), atol=2e-5)


def test_openai_s_base64_is_little_endian_float32(server: Any, expected: Any) -> None:
    body = {"input": TEXTS[0], "encoding_format": "base64"}
    [row] = server.post("/v1/embeddings", json=body).json()["data"]
    vector = np.frombuffer(base64.b64decode(row["embedding"]), "<f4")
    np.testing.assert_allclose(vector, unit(expected.sentence_vectors)[0], atol=2e-5)


def test_the_model_s_own_name_is_taken_and_another_is_not(server: Any, tiny_elmo_dir: Path) -> None:
    found = server.post("/v1/embeddings", json={"input": "a", "model": str(tiny_elmo_dir)})
    assert found.json()["model"] == str(tiny_elmo_dir)
    refused = server.post("/v1/embeddings", json={"input": "a", "model": "ada"})
    assert refused.status_code == 404
    assert "model is 'ada', but this server has" in refused.json()["error"]["message"]


def test_embed_gives_a_list_of_numbers_a_text(server: Any, expected: Any) -> None:
    vectors = server.post("/embed", json={"inputs": TEXTS}).json()
    np.testing.assert_allclose(vectors, unit(expected.sentence_vectors), atol=2e-5)
    raw = server.post("/embed", json={"inputs": TEXTS, "normalize": False}).json()
    np.testing.assert_allclose(raw, expected.sentence_vectors, atol=2e-5)


def test_embed_all_gives_all_token_vectors(server: Any, expected: Any) -> None:
    found = server.post("/embed_all", json={"inputs": TEXTS}).json()
    assert [len(rows) for rows in found] == [7, 1]
    np.testing.assert_allclose(np.concatenate(found), expected.token_vectors, atol=2e-5)


def test_a_long_text_is_refused_or_cut(start: Callable[..., Any], served_corpus: str) -> None:
    made = start(served_corpus, max_tokens=5)
    refused = made.post("/embed_all", json={"inputs": TEXTS[0]})
    assert refused.status_code == 413
    assert "7 tokens, more than the 5" in refused.json()["error"]["message"]
    [rows] = made.post("/embed_all", json={"inputs": TEXTS[0], "truncate": True}).json()
    assert len(rows) == 5


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/embed", '{"inputs":', 400, "the body is not JSON"),
        ("/embed", b"\xff", 400, "the body is not JSON"),
        ("/embed", "[" * 100000, 400, "the body is not JSON"),
        ("/embed", '["a"]', 400, "the body is a JSON array, expected an object with inputs"),
        ("/embed", "{}", 400, "inputs is missing"),
        ("/embed", '{"inputs": [1, 2]}', 400, "a text or a list of texts"),
        ("/embed", '{"inputs": []}', 422, "inputs is empty"),
        ("/embed", '{"inputs": ["a", " "]}', 422, "text 1 of inputs is empty"),
        ("/embed", '{"inputs": "\\ud800"}', 422, "lone surrogate"),
        ("/embed", '{"inputs": "a", "normalize": 1}', 400, "normalize is a JSON number"),
        ("/embed", '{"inputs": "a", "colour": 1}', 400, "unknown field 'colour'"),
        ("/v1/embeddings", '{"input": [[1, 2]]}', 400, "no token numbers"),
        ("/v1/embeddings", '{"input": "a", "dimensions": 3}', 422, "vectors have 16"),
        ("/v1/embeddings", '{"input": "a", "encoding_format": "x"}', 422, "float or base64"),
    ],
)
def test_bad_bodies_get_json_with_the_right_status_and_words(
    server: Any, path: str, body: str, status: int, words: str
) -> None:
    answered = server.post(path, content=body)
    assert answered.status_code == status
    assert words in answered.json()["error"]["message"]
