"""The GET routes: the same JSON as the commands print, and errors with the commands' words."""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from pipelines.__main__ import main
from pipelines.api import Corpus

QUERY = "They sat on the [bank] of the river ."


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert main(list(arguments)) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("flags", "parameters"),
    [
        (["--k", "5"], {"k": "5"}),
        (["--fold-case", "--k", "40"], {"fold_case": "true", "k": "40"}),
        (["--inflections", "--sort", "1L"], {"inflections": "1", "sort": "1L"}),
        (["--filter", "topic=money", "--context", "2:1"],
         {"filter": "topic=money", "context": "2:1"}),
        (["--any-word", "--k", "7"], {"any_word": "true", "k": "7"}),
        (["--no-senses", "--sample", "3", "--seed", "5"],
         {"no_senses": "true", "sample": "3", "seed": "5"}),
        (["--min-score", "0.2"], {"min_score": "0.2"}),
        (["--unfold", "--k", "12"], {"unfold": "true", "k": "12"}),
    ],
)  # fmt: skip
def test_a_search_answers_what_the_command_prints(
    server: Any,
    served_corpus: str,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    parameters: dict[str, str],
) -> None:
    expected = printed(capsys, "search", "--corpus", served_corpus, QUERY, "--json", *flags)
    answered = server.get("/v1/search", params={"q": QUERY, **parameters})
    assert answered.status_code == 200
    found = answered.json()
    # Products are summed in another order from thread to thread: 1e-7.
    scores = [[hit.pop("score") for hit in result["hits"]] for result in (found, expected)]
    assert scores[0] == pytest.approx(scores[1], abs=2e-6)
    assert found == expected


def test_a_search_without_brackets_compares_sentences(server: Any) -> None:
    found = server.get("/v1/search", params={"q": "The bank gave her a loan .", "k": 1}).json()
    assert found["word"] is None
    assert found["hits"][0]["node"] == "The bank gave her a loan ."


def test_the_query_s_own_weights_are_told(server: Any) -> None:
    found = server.get("/v1/search", params={"q": QUERY}).json()
    assert found["query_tokens"] == QUERY.replace("[", "").replace("]", "").split()
    assert sum(found["query_attention"]) == pytest.approx(1, abs=1e-3)
    assert len(found["query_attention"]) == len(found["query_tokens"])


def test_a_line_is_an_example(server: Any) -> None:
    hits = server.get("/v1/search", params={"q": QUERY, "k": 2}).json()["hits"]
    like, unlike = (hit["vector_id"] for hit in hits)
    found = server.get(
        "/v1/search", params={"like": like, "unlike": unlike, "k": 99, "unfold": 1}
    ).json()
    ids = {hit["vector_id"] for hit in found["hits"]}
    assert len(ids) == 31
    assert not ids & {like, unlike}


def test_a_word_that_never_occurs_names_its_nearest_forms(server: Any) -> None:
    found = server.get("/v1/search", params={"q": "the [bannk]"}).json()
    assert found["hits"] == []
    assert found["nearest"]["bank"] == 33
    assert "'bannk' never occurs in this corpus" in found["notes"][0]
    refused = server.get("/v1/senses", params={"word": "bannk"})
    assert refused.status_code == 404
    assert refused.json()["error"]["nearest"]["bank"] == 33
    assert "nearest forms: BANK (1), Bank (1), bank (33)" in refused.json()["error"]["message"]


def test_senses_answer_what_the_command_prints(
    server: Any, served_corpus: str, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = printed(capsys, "senses", "--corpus", served_corpus, "bank", "--json")
    found = server.get("/v1/senses", params={"word": "bank"}).json()
    for result in (found, expected):
        for line in (line for sense in result["senses"] for line in sense["lines"]):
            line["score"] = pytest.approx(line["score"], abs=2e-6)
    assert found == expected


def test_the_map_has_a_point_an_occurrence_up_to_the_limit(server: Any) -> None:
    every = server.get("/v1/senses/map", params={"word": "bank"}).json()
    some = server.get("/v1/senses/map", params={"word": "bank", "points": 10}).json()
    assert every["occurrences"] == len(every["points"]) == 33
    assert 5 <= len(some["points"]) <= 10
    assert {point["node"] for point in every["points"]} == {"bank"}
    assert len({(point["x"], point["y"]) for point in every["points"]}) >= 5
    assert {point["sense"] for point in every["points"]} >= {1}


def test_a_document_is_shown_around_a_line(server: Any) -> None:
    found = server.get(
        "/v1/document", params={"doc_id": "other", "sentence_index": 1, "window": 1}
    ).json()
    assert [s["sentence_index"] for s in found["sentences"]] == [0, 1, 2]
    assert found["sentences"][1]["text"] == "Bank BANK."
    assert (found["first"], found["last"]) == (0, 3)
    assert sum(found["sentences"][0]["attention"]) == pytest.approx(1, abs=1e-3)
    missing = server.get("/v1/document", params={"doc_id": "nowhere"})
    assert missing.status_code == 404
    assert "there is no document 'nowhere'" in missing.json()["error"]["message"]


def test_a_deleted_document_is_not_shown(start: Callable[..., Any], own_corpus: str) -> None:
    assert main(["delete", "--corpus", own_corpus, "other"]) == 0
    answered = start(own_corpus).get("/v1/document", params={"doc_id": "other"})
    assert answered.status_code == 404


def test_tokens_say_what_may_stand_in_brackets(server: Any) -> None:
    text = "don't stop"
    tokens = server.get("/v1/tokens", params={"q": text}).json()["tokens"]
    assert [text[token["start"] : token["end"]] for token in tokens] == ["do", "n't", "stop"]


def test_the_corpus_is_described_with_its_metadata_and_the_limits(
    server: Any, served_corpus: str
) -> None:
    found = server.get("/v1/corpus").json()
    assert found["documents"] == Corpus.open(served_corpus).live_counts()["documents"] == 34
    assert found["metadata"] == [
        {
            "key": "topic",
            "documents": 33,
            "values": [
                {"value": "money", "documents": 16},
                {"value": "river", "documents": 16},
                {"value": "<img src=x>", "documents": 1},
            ],
            "complete": True,
        }
    ]
    assert found["limits"] == {"query_chars": 2000, "k": 1000, "tokens": 8192}


def test_hostile_text_comes_back_as_it_is_and_as_json(server: Any) -> None:
    answered = server.get("/v1/search", params={"q": "[bank]", "k": 99})
    lines = [h["left"] + h["node"] + h["right"] for h in answered.json()["hits"]]
    assert any("<img src=x onerror=alert(1)>" in line and "\u202e" in line for line in lines)
    assert answered.headers["content-type"] == "application/json"
    assert answered.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/v1/search?q=the+[bank]+of+a+[bank]", 422, "two words are in brackets"),
        ("/v1/search?q=the+[bank", 422, "is not closed"),
        ("/v1/search?q=", 422, "the query is empty"),
        ("/v1/search", 422, "give either q, a query, or like"),
        ("/v1/search?q=a&like=1", 422, "give either q, a query, or like"),
        ("/v1/search?q=a&unlike=1", 422, "unlike needs like"),
        ("/v1/search?like=1", 422, "there is no sentence with the vector_id 1"),
        ("/v1/search?q=[bank]&filter=nokey=1", 422, "no document has the metadata nokey=1;"
         " the metadata keys of this corpus are: topic"),
        ("/v1/search?q=[bank]&filter=topic", 422, "write KEY=VALUE"),
        ("/v1/search?q=[bank]&k=1001", 422, "k is 1001, more than the 1000 lines"),
        ("/v1/search?q=[bank]&k=0", 422, "k is 0; expected 1 or more"),
        ("/v1/search?q=[bank]&k=ten", 400, "k is 'ten'; expected a whole number"),
        ("/v1/search?q=[bank]&k=1&k=2", 400, "k is given twice"),
        ("/v1/search?q=[bank]&kk=1", 400, "unknown parameter 'kk'; the parameters are q, like"),
        ("/v1/search?q=[bank]&fold_case=maybe", 400, "write true or false"),
        ("/v1/search?q=[bank]&min_score=nan", 400, "expected a finite number"),
        ("/v1/search?q=[bank]&sort=5R", 422, "sort is '5R'; expected one of score"),
        ("/v1/search?q=[bank]&sense=9", 422, "--sense is 9, but 'bank' has"),
        ("/v1/search?q=[bank]&context=wide", 422, "write 5:10"),
        ("/v1/search?q=a&fold_case=1", 422, "is about a word, but the query has none"),
        ("/v1/search?q=%ff", 400, "is not UTF-8"),
        ("/v1/search?q=" + "a" * 2001, 413, "q has 2,001 characters, more than the 2,000"),
        ("/v1/senses", 400, "word is missing"),
        ("/v1/document", 400, "doc_id is missing: id of the document"),
        ("/v1/senses?word=+", 422, "the word is empty"),
        ("/v1/senses/map?word=bank&points=0", 422, "points is 0; expected 1 to 5000"),
        ("/v1/document?doc_id=other&sentence_index=9", 422, "sentence_index is 9, but the last"
         " sentence of document 'other' is 3"),
        ("/v1/document?doc_id=none", 404, "there is no document 'none' in this corpus"),
        ("/v1/document?doc_id=other&window=-1", 422, "window is -1"),
        ("/v1/nowhere", 404, "there is nothing at '/v1/nowhere'; there are /v1/search"),
        ("/v1/search/", 404, "there is nothing at '/v1/search/'"),
        ("/assets/none.js", 404, "the page has no file 'none.js'"),
        ("/assets/..%2f__init__.py", 404, "there is nothing at"),
    ],
)  # fmt: skip
def test_bad_input_gets_json_with_the_right_status_and_words(
    server: Any, path: str, status: int, words: str
) -> None:
    answered = server.get(path)
    error = answered.json()["error"]
    assert (answered.status_code, error["status"]) == (status, status)
    assert words in error["message"]


def test_a_method_that_a_route_does_not_take_is_refused(server: Any) -> None:
    answered = server.post("/v1/search")
    assert answered.status_code == 405
    assert answered.headers["allow"]
    assert "/v1/search does not take POST" in answered.json()["error"]["message"]


def test_words_in_a_corpus_of_sentences_are_refused_with_the_reason(
    start: Callable[..., Any], sentences_only: str
) -> None:
    made = start(sentences_only)
    for path in ("/v1/search?q=the+[bank]", "/v1/senses?word=bank"):
        answered = made.get(path)
        assert answered.status_code == 422
        assert "has no token vectors" in answered.json()["error"]["message"]
    assert made.get("/v1/search?q=the+bank").status_code == 200
    assert made.get("/v1/corpus").json()["token_vectors"] == 0


def test_before_the_model_is_loaded_clients_are_told_when_to_ask_again(
    start: Callable[..., Any], served_corpus: str
) -> None:
    made = start(served_corpus, load=False)
    answered = made.get("/v1/search?q=bank")
    assert answered.status_code == 503
    assert answered.headers["retry-after"] == "5"
    assert "is being loaded" in answered.json()["error"]["message"]
    assert made.get("/readyz").status_code == 503
    assert made.get("/healthz").status_code == 200
    made.load()
    assert made.get("/readyz").json() == {"status": "ready", "snapshot": 2, "problem": None}


def test_an_answer_does_not_depend_on_other_requests(
    start: Callable[..., Any], served_corpus: str
) -> None:
    # Two servers: one keeps what it encoded, and would answer the second time from there.
    lonely, busy = start(served_corpus), start(served_corpus)
    query = {"q": "They sat on the [bank] of the river", "k": 99, "unfold": "true"}
    alone = lonely.get("/v1/search", params=query).json()

    async def together() -> list[Any]:
        transport = httpx.ASGITransport(app=busy.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            others = [
                client.get("/v1/search", params={"q": f"{'very ' * number}late the [bank] lends"})
                for number in range(24)
            ]
            return await asyncio.gather(client.get("/v1/search", params=query), *others)

    answers = asyncio.run(together())
    assert {answered.status_code for answered in answers} == {200}
    found = answers[0].json()
    scores = {hit["vector_id"]: hit["score"] for hit in found["hits"]}
    assert scores == pytest.approx(
        {hit["vector_id"]: hit["score"] for hit in alone["hits"]}, abs=1e-4
    )
    assert found["senses"] == alone["senses"]


def test_a_search_of_a_word_whose_senses_are_held_waits_for_no_other(
    start: Callable[..., Any], served_corpus: str
) -> None:
    server = start(served_corpus)
    query = {"q": "They sat on the [bank] of the river"}
    first = server.get("/v1/search", params=query)
    metric = "sensegrep_senses_seconds_count"
    told = re.findall(rf"^{metric} (\S+)", server.get("/metrics").text, re.MULTILINE)
    second = server.get("/v1/search", params=query)
    again = re.findall(rf"^{metric} (\S+)", server.get("/metrics").text, re.MULTILINE)
    assert (told, again) == (["1.0"], ["1.0"])
    assert second.json() == first.json()


def test_a_query_that_was_encoded_before_needs_no_model(
    start: Callable[..., Any], served_corpus: str
) -> None:
    server = start(served_corpus)
    first = server.get("/v1/search", params={"q": "They sat on the [bank] of the river"}).json()
    server.service.live.served.model.batches.close()  # whoever asks the model now gets an error
    again = server.get("/v1/search", params={"q": "They sat on the [bank] of the river"})
    assert again.json() == first
    other = server.get("/v1/search", params={"q": "They sat on the [bank]", "k": 3})
    assert other.status_code == 500
    sorted_ = {"q": "They sat on the [bank] of the river", "sort": "document", "k": 3}
    assert server.get("/v1/search", params=sorted_).status_code == 200
    assert "sensegrep_encoded_before_total 2.0" in server.get("/metrics").text
