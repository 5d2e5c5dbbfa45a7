"""Streams from a real Kafka broker: partitions, transactions, retention, sizes, bad input."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from pipelines.__main__ import main
from pipelines.api import Corpus
from pipelines.reading.kafka_topic import KafkaTopic
from pipelines.reading.options import InputOptions
from pipelines.reading.stream_batch import BatchLimits, RecordsLost, StreamBatch

MANY = BatchLimits(records=10_000, bytes=1 << 30)


@pytest.fixture
def run(tmp_path: Path, tiny_elmo_dir: Path, source: Callable[[], str]) -> Callable[..., int]:
    """A function that runs `sensegrep stream` until nothing came for a second."""

    def run(*more: str) -> int:
        model = ("--model", str(tiny_elmo_dir), "--until-idle", "1s", "--every", "1s")
        corpus = ("--corpus", str(tmp_path / "corpus"), "--max-reject-fraction", "1")
        return main(["stream", source(), *corpus, *model, *more])

    return run


@pytest.fixture
def live(tmp_path: Path) -> Callable[[], dict[str, str]]:
    def read() -> dict[str, str]:
        rows = [
            (row["doc_id"], row["text"])
            for batch in Corpus.open(tmp_path / "corpus").read("sentences", ["doc_id", "text"])
            for row in batch.to_pylist()
        ]
        assert len(rows) == len(dict(rows))
        return dict(rows)

    return read


@pytest.fixture
def positions(tmp_path: Path) -> Callable[[], dict[str, int]]:
    def read() -> dict[str, int]:
        entry = Corpus.open(tmp_path / "corpus").snapshot.stream
        assert entry is not None
        return dict(entry.positions)

    return read


def take(source: KafkaTopic, records: int) -> StreamBatch:
    """Read so many records, or for as long as a minute."""
    batch = StreamBatch()
    deadline = time.monotonic() + 60
    while len(batch.records) < records and time.monotonic() < deadline:
        source.fill(batch, MANY, 0.3)
    return batch


def say(name: str, number: int = 1) -> dict[str, str]:
    return {"id": name, "text": f"Version {number} of {name}."}


def test_messages_of_all_partitions_once_with_an_idle_one(
    broker: Any, topic: str, run: Callable, live: Callable, positions: Callable
) -> None:
    broker.make_topic(topic, 3)
    broker.put(topic, say("a"), say("b"), say("a", 2), partition=0)
    broker.put(topic, {"text": "Keyed."}, partition=1, key="k")
    assert run() == 0
    assert live() == {"a": "Version 2 of a.", "b": "Version 1 of b.", "k": "Keyed."}
    assert positions() == {"0": 3, "1": 1, "2": 0}
    broker.put(topic, None, partition=1, key="k")
    broker.put(topic, {"id": "b", "deleted": True}, say("c"), partition=2)
    assert run() == 0
    assert live() == {"a": "Version 2 of a.", "c": "Version 1 of c."}
    assert positions() == {"0": 3, "1": 2, "2": 2}


def test_a_poison_message_and_one_without_a_name_are_rejected_with_their_offsets(
    broker: Any, topic: str, run: Callable, live: Callable, tmp_path: Path
) -> None:
    broker.make_topic(topic)
    broker.put(topic, say("a"), b"{poison", {"text": "Nameless."}, say("b"))
    assert run() == 3
    assert sorted(live()) == ["a", "b"]
    corpus = Corpus.open(tmp_path / "corpus")
    rows = [row for batch in corpus.read("rejects") for row in batch.to_pylist()]
    assert [(r["uri"], r["position"], r["reason"]) for r in rows] == [
        (f"kafka:{topic}/0", 1, "invalid-json"),
        (f"kafka:{topic}/0", 2, "missing-id"),
    ]


def test_a_message_of_20_mb_is_embedded(
    broker: Any, topic: str, run: Callable, tmp_path: Path
) -> None:
    broker.make_topic(topic)
    broker.put(topic, {"id": "big", "text": "Hi. ", "blob": "x" * (20 << 20)}, say("next"))
    assert run() == 0
    documents = [
        row for b in Corpus.open(tmp_path / "corpus").read("documents") for row in b.to_pylist()
    ]
    assert sorted(row["doc_id"] for row in documents) == ["big", "next"]


def test_a_batch_is_over_its_limit_of_bytes_by_one_message_at_most(broker: Any, topic: str) -> None:
    """As many messages are consumed at once as fit: all of them are in memory."""
    broker.make_topic(topic)
    broker.put(topic, *({"id": f"d{n}", "text": "x" * 50_000} for n in range(60)))
    source = KafkaTopic(f"{broker.address}/{topic}", InputOptions())
    source.start({}, {})
    limits, read, most = BatchLimits(records=500, bytes=200_000), 0, 0
    deadline = time.monotonic() + 60
    while read < 60 and time.monotonic() < deadline:
        batch = StreamBatch()
        source.fill(batch, limits, 2)
        assert batch.bytes <= limits.bytes + 51_000
        read, most = read + len(batch.records), max(most, len(batch.records))
    assert (read, most) == (60, 4)
    source.close()


def test_only_committed_transactions_count_and_their_marks_leave_no_lag(
    broker: Any, topic: str, run: Callable, live: Callable, positions: Callable
) -> None:
    broker.make_topic(topic)
    producer = Producer({"bootstrap.servers": broker.address, "transactional.id": topic})
    producer.init_transactions(30)
    for commit, name in ((True, "a"), (False, "ghost"), (True, "b")):
        producer.begin_transaction()
        producer.produce(topic, f'{{"id": "{name}", "text": "Hi."}}'.encode())
        producer.flush(30)
        producer.commit_transaction(30) if commit else producer.abort_transaction(30)
    assert run() == 0
    assert sorted(live()) == ["a", "b"]
    assert positions() == {"0": 6}  # three messages, three marks


def test_a_topic_that_grows_partitions_is_read_whole(broker: Any, topic: str) -> None:
    broker.make_topic(topic)
    broker.put(topic, say("a"))
    source = KafkaTopic(f"{broker.address}/{topic}", InputOptions(), look_seconds=0.5)
    assert source.start({}, {}) == {"0": 0}
    first = take(source, 1)
    broker.grow_topic(topic, 3)
    broker.put(topic, say("b"), partition=2)
    second = take(source, 1)
    source.close()
    assert [record.doc_id for record in first.records + second.records] == ["a", "b"]
    assert second.origins == {"1": 0, "2": 0}
    assert second.ranges == {"2": (0, 1)}


def test_what_retention_removed_is_an_error_unless_it_is_accepted(
    broker: Any, topic: str, run: Callable, live: Callable, positions: Callable,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    broker.make_topic(topic)
    broker.put(topic, say("a"))
    assert run() == 0
    broker.put(topic, *(say(f"b{number}") for number in range(5)))
    broker.forget(topic, 0, before=4)
    assert run() == 1
    error = capsys.readouterr().err
    assert f"offsets 1 to 3 of partition 0 of topic '{topic}' were removed by Kafka" in error
    assert "--accept-loss" in error
    assert positions() == {"0": 1}
    assert run("--accept-loss") == 3
    assert sorted(live()) == ["a", "b3", "b4"]
    assert positions() == {"0": 6}


@pytest.mark.parametrize("accept", [False, True])
def test_retention_while_the_stream_reads_is_an_error_too(
    broker: Any, topic: str, monkeypatch: pytest.MonkeyPatch, accept: bool
) -> None:
    broker.make_topic(topic)
    broker.put(topic, *(say(f"a{number}") for number in range(6)))
    broker.forget(topic, 0, before=4)
    source = KafkaTopic(f"{broker.address}/{topic}", InputOptions(), accept_loss=accept)
    with monkeypatch.context() as patched:
        # As if the messages went after the start had looked at them.
        patched.setattr(source, "watermarks", lambda _: (0, 6))
        source.start({"0": 2}, {})
    if accept:
        batch = take(source, 3)
        assert [getattr(r, "reason", r.doc_id) for r in batch.records] == [
            "lost-by-retention",
            "a4",
            "a5",
        ]
        assert batch.ranges == {"0": (2, 6)}
    else:
        with pytest.raises(RecordsLost, match="offsets 2 to 3 of partition 0"):
            take(source, 1)
    source.close()


def test_a_topic_made_anew_is_told(
    broker: Any, topic: str, run: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    broker.make_topic(topic)
    broker.put(topic, say("a"), say("b"))
    assert run() == 0
    broker.remove_topic(topic)
    deadline = time.monotonic() + 20
    while topic in broker.admin.list_topics(timeout=5).topics and time.monotonic() < deadline:
        time.sleep(0.2)
    broker.make_topic(topic)
    assert run() == 1
    assert "ends at offset 0, but the corpus has read it to 2" in capsys.readouterr().err


def test_a_topic_that_is_not_there_is_bad_usage(
    run: Callable, topic: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run() == 2
    assert f"topic '{topic}' does not exist" in capsys.readouterr().err
    assert not (tmp_path / "corpus").exists()


def test_lag_is_what_was_not_read(broker: Any, topic: str) -> None:
    broker.make_topic(topic)
    broker.put(topic, *(say(f"a{number}") for number in range(10)))
    source = KafkaTopic(f"{broker.address}/{topic}", InputOptions())
    source.start({}, {})
    batch, few = StreamBatch(), BatchLimits(records=4, bytes=1 << 30)
    deadline = time.monotonic() + 20
    while not batch.is_full(few) and time.monotonic() < deadline:
        source.fill(batch, few, 0.5)
    assert len(batch.records) == 4
    assert source.lag().records == 6
    assert source.lag().seconds > 0
    source.close()


@pytest.fixture
def as_user(broker: Any, topic: str, tmp_path: Path, tiny_elmo_dir: Path) -> Callable[..., int]:
    """A function that streams as a user with a password (SASL), as --kafka-config says."""

    def run(user: str, password: str, address: str = broker.sasl_address, **settings: str) -> int:
        settings = {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": user,
            "sasl.password": password,
            **{name.replace("_", "."): value for name, value in settings.items()},
        }
        config = tmp_path / "kafka.properties"
        config.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        corpus = ("--corpus", str(tmp_path / "corpus"), "--model", str(tiny_elmo_dir))
        return main(["stream", f"kafka:{address}/{topic}", *corpus, "--kafka-config", str(config),
                     "--until-idle", "1s", "--every", "1s"])  # fmt: skip

    return run


def test_a_topic_without_rights_is_bad_usage_before_anything_is_read(
    broker: Any, topic: str, as_user: Callable, live: Callable, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    broker.make_topic(topic)
    broker.put(topic, say("a"))
    broker.allow("reader", topic)
    assert as_user("stranger", "secret") == 2
    error = capsys.readouterr().err
    assert f"this user may not read topic '{topic}' at {broker.sasl_address}" in error
    assert "it needs READ and DESCRIBE on the topic (--kafka-config" in error
    assert not (tmp_path / "corpus").exists()
    assert as_user("reader", "secret") == 0
    assert live() == {"a": "Version 1 of a."}


def test_a_wrong_password_is_bad_usage(
    broker: Any, topic: str, as_user: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    broker.make_topic(topic)
    assert as_user("reader", "wrong") == 2
    error = capsys.readouterr().err
    assert "Authentication failed: Invalid username or password" in error
    assert "check the address, that it is up, and --kafka-config for TLS and SASL" in error
    assert "secret" not in error


def test_messages_are_read_over_tls_from_a_broker_that_is_trusted(
    broker: Any, topic: str, as_user: Callable, live: Callable
) -> None:
    broker.make_topic(topic)
    broker.put(topic, say("a"))
    broker.allow("reader", topic)
    trusted = {"security_protocol": "SASL_SSL", "ssl_ca_location": str(broker.certificate)}
    assert as_user("reader", "secret", broker.tls_address, **trusted) == 0
    assert live() == {"a": "Version 1 of a."}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        # The system's certificates do not know this one.
        ({"security_protocol": "SASL_SSL"}, "certificate verify failed"),
        # No TLS towards a port that speaks it.
        ({}, "no Kafka broker answers"),
    ],
)
def test_a_broker_over_tls_that_is_not_trusted_is_bad_usage(
    broker: Any, as_user: Callable, settings: dict[str, str], words: str,
    capsys: pytest.CaptureFixture[str], tmp_path: Path,
) -> None:  # fmt: skip
    assert as_user("reader", "secret", broker.tls_address, **settings) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "--kafka-config for TLS and SASL" in error
    assert "secret" not in error
    assert not (tmp_path / "corpus").exists()


def test_a_clock_that_jumps_changes_neither_order_nor_lag(
    broker: Any, topic: str, run: Callable, live: Callable, positions: Callable, tmp_path: Path
) -> None:
    # So that the broker takes such times, and removes nothing for them.
    broker.make_topic(
        topic, **{"message.timestamp.after.max.ms": str(1 << 40), "retention.ms": "-1"}
    )
    producer = Producer({"bootstrap.servers": broker.address})
    day = 86_400_000
    now = int(time.time() * 1000)
    for number, moment in enumerate((now, now + 30 * day, now - 30 * day, 1), 1):
        producer.produce(topic, json.dumps(say("a", number)).encode(), timestamp=moment)
    assert producer.flush(60) == 0
    assert run() == 0
    assert live() == {"a": "Version 4 of a."}  # in the order of offsets, whatever the times say
    assert positions() == {"0": 4}
    entry = Corpus.open(tmp_path / "corpus").snapshot.stream
    assert entry is not None
    assert entry.lag == {"records": 0, "seconds": 0.0}
