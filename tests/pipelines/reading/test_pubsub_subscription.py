"""Pub/Sub, by a fake that redelivers and reorders: nothing twice, nothing older over newer."""

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import pubsub_v1

from pipelines.__main__ import main
from pipelines.api import Corpus
from pipelines.embed.jobs import streaming
from pipelines.errors import UsageError
from pipelines.reading import pubsub_subscription
from pipelines.reading.options import InputOptions
from pipelines.reading.pubsub_subscription import GUARD_SECONDS, PubsubSubscription
from pipelines.reading.stream_batch import (
    BatchLimits,
    Mark,
    SourceUnavailable,
    StreamBatch,
)

SUBSCRIPTION = "projects/p/subscriptions/s"
MANY = BatchLimits(records=1000, bytes=1 << 30)
START = datetime(2026, 11, 1, tzinfo=UTC)


class Subscription:
    """What Pub/Sub keeps: messages until they are acknowledged, delivered in any order, again."""

    def __init__(self, seed: int = 0) -> None:
        self.messages: dict[str, Any] = {}
        self.random = random.Random(seed)
        self.permissions = ["pubsub.subscriptions.consume"]
        self.leased: list[str] = []
        self.acknowledged: list[str] = []
        self.fault: Exception | None = None
        self.again = 0.0  # of what was acknowledged, the share that comes again anyway

    def publish(self, fields: Any, seconds: float, **attributes: str) -> None:
        number = str(len(self.messages) + 1000)
        data = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
        self.messages[number] = SimpleNamespace(
            message_id=number,
            data=data,
            attributes=attributes,
            publish_time=START + timedelta(seconds=seconds),
        )

    def test_iam_permissions(self, request: Any, timeout: float) -> Any:
        del timeout
        assert request["resource"] == SUBSCRIPTION
        if self.fault:
            raise self.fault
        return SimpleNamespace(permissions=self.permissions)

    def pull(self, request: Any, timeout: float) -> Any:
        del timeout
        if self.fault:
            raise self.fault
        waiting = [
            number
            for number in self.messages
            if number not in self.acknowledged or self.random.random() < self.again
        ]
        if not waiting:
            raise exceptions.DeadlineExceeded("nothing")
        self.random.shuffle(waiting)
        most = self.random.randint(1, min(len(waiting), request["max_messages"]))
        return SimpleNamespace(
            received_messages=[
                SimpleNamespace(ack_id=number, message=self.messages[number])
                for number in waiting[:most]
            ]
        )

    def acknowledge(self, request: Any, timeout: float) -> None:
        del timeout
        self.acknowledged += request["ack_ids"]

    def modify_ack_deadline(self, request: Any, timeout: float) -> None:
        del timeout
        self.leased += request["ack_ids"]

    def close(self) -> None:
        pass


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Subscription:
    fake = Subscription()
    monkeypatch.setattr(pubsub_v1, "SubscriberClient", lambda: fake)
    return fake


@pytest.fixture
def start(fake: Subscription) -> Callable[..., PubsubSubscription]:
    del fake
    started: list[PubsubSubscription] = []

    def start(marks: dict[str, Mark] | None = None, batches: int = 0) -> PubsubSubscription:
        source = PubsubSubscription(SUBSCRIPTION, InputOptions())
        source.start({"batches": batches}, marks or {})
        started.append(source)
        return source

    return start


def take(source: PubsubSubscription, seconds: float = 0.2) -> StreamBatch:
    batch = StreamBatch()
    source.fill(batch, MANY, seconds)
    return batch


def test_messages_are_acknowledged_only_after_the_commit(
    fake: Subscription, start: Callable[..., PubsubSubscription]
) -> None:
    fake.publish({"id": "a", "text": "Hi."}, 1)
    source = start()
    batch = take(source)
    assert [record.doc_id for record in batch.records] == ["a"]
    assert batch.ranges["batches"][0] == 0
    assert (set(fake.leased), fake.acknowledged) == ({"1000"}, [])
    source.committed()
    assert "1000" in fake.acknowledged
    assert take(source).ranges == {}
    source.close()


def test_an_older_or_repeated_message_is_passed_over_after_a_restart_too(
    fake: Subscription, start: Callable[..., PubsubSubscription]
) -> None:
    fake.publish({"id": "a", "text": "New."}, 9)
    first = start()
    batch = take(first)
    first.close()  # committed, and killed before it acknowledged
    fake.publish({"id": "a", "text": "Old."}, 5)
    again = start(batch.marks, 1)
    second = take(again)
    assert (second.records, second.ranges) == ([], {})
    assert second.skipped >= 2
    assert set(fake.acknowledged) == {"1000", "1001"}
    again.close()


def test_a_deletion_keeps_older_versions_away(
    fake: Subscription, start: Callable[..., PubsubSubscription]
) -> None:
    fake.publish({"id": "a", "deleted": True}, 9)
    source = start()
    batch = take(source)
    fake.publish({"text": "Old."}, 5, id="a")
    assert take(source).records == []
    assert list(batch.marks) == ["id a"]
    source.close()


def test_guards_beyond_what_pubsub_keeps_are_forgotten(
    fake: Subscription, start: Callable[..., PubsubSubscription], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = START.timestamp() + GUARD_SECONDS
    monkeypatch.setattr(pubsub_subscription.time, "time", lambda: now)
    late, early = int(START.timestamp() * 1e6) + 1, int(START.timestamp() * 1e6) - 1
    source = start({"id old": Mark("1", early), "id new": Mark("2", late)})
    fake.publish({"id": "b", "text": "Hi."}, 20)
    marks = take(source).marks
    assert marks["id old"] == Mark("")
    assert "id new" not in marks
    source.close()


def test_a_corpus_ends_with_the_latest_of_each_whatever_is_delivered_when(
    fake: Subscription, tmp_path: Path, tiny_elmo_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "POLL_SECONDS", 0.05)
    chance = random.Random(5)
    latest: dict[str, str] = {}
    fake.again = 0.2
    for second in range(200):
        name = f"d{chance.randrange(40)}"
        if chance.random() < 0.15:
            fake.publish({"id": name, "deleted": True}, second)
            latest.pop(name, None)
        elif chance.random() < 0.05:
            fake.publish(b"{poison", second)
        else:
            latest[name] = f"Version {second} of {name}."
            fake.publish({"id": name, "text": latest[name]}, second)
    poison = sum(message.data == b"{poison" for message in fake.messages.values())
    command = ["stream", f"pubsub:{SUBSCRIPTION}", "--corpus", str(tmp_path / "corpus")]
    command += ["--model", str(tiny_elmo_dir), "--every", "0.1s", "--ahead", "17"]
    while len(set(fake.acknowledged)) < 200:
        assert main([*command, "--until-idle", "0.2s"]) in (0, 3)
        fake.again = 0.0
    corpus = Corpus.open(tmp_path / "corpus")
    rows = [row for b in corpus.read("sentences", ["doc_id", "text"]) for row in b.to_pylist()]
    assert {row["doc_id"]: row["text"] for row in rows} == latest
    assert len(rows) == len(latest)
    assert corpus.live_counts()["rejects"] == poison > 0


def test_a_subscription_that_is_not_there_is_told(fake: Subscription, start: Callable) -> None:
    fake.fault = exceptions.NotFound("no")
    with pytest.raises(SourceUnavailable, match=f"subscription {SUBSCRIPTION} does not exist"):
        start()


def test_missing_rights_are_told(fake: Subscription, start: Callable) -> None:
    fake.permissions = []
    with pytest.raises(UsageError, match=r"they need pubsub\.subscriptions\.consume"):
        start()


def test_a_service_that_is_away_for_a_moment_is_waited_for(
    fake: Subscription, start: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    source = start()
    fake.fault = exceptions.ServiceUnavailable("later")
    assert take(source).records == []
    assert "later" in caplog.text
    fake.fault = exceptions.PermissionDenied("no more")
    with pytest.raises(SourceUnavailable, match="cannot be pulled: 403 no more"):
        take(source)
    source.close()
