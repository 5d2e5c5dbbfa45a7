"""A Kafka topic as the source of a stream (extra: kafka). Positions are stored in the corpus.

Partitions are assigned by us and read from the positions in the corpus. Offsets that Kafka has
removed before they were read are an error, never a silent jump.
"""

import logging
import time
from collections.abc import Mapping
from typing import Any

import fsspec

from pipelines.errors import UsageError
from pipelines.reading.documents import READ, Reject
from pipelines.reading.input_files import InputFile
from pipelines.reading.messages import message_from_payload
from pipelines.reading.options import InputOptions
from pipelines.reading.stream_batch import (
    BatchLimits,
    Lag,
    Mark,
    RecordsLost,
    SourceUnavailable,
    StreamBatch,
)

logger = logging.getLogger(__name__)

_ANSWER_SECONDS = 15.0
_POLL_SECONDS = 0.5
_POLL_MESSAGES = 500
_FIRST_BYTES = 1 << 20  # of a message, until one was read: Kafka's own default limit
_MESSAGE_BYTES = 200  # of memory, beside what the message holds
# What must be so for the corpus's positions to be the only truth.
_OURS = {
    "group.id": "sensegrep",  # the client wants one; nothing is committed to it
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
    "enable.partition.eof": True,
    "allow.auto.create.topics": False,
}
_DEFAULTS: dict[str, Any] = {
    "client.id": "sensegrep",
    "queued.max.messages.kbytes": 16 << 10,  # what the client itself reads ahead
    "socket.connection.setup.timeout.ms": 10_000,
    "topic.metadata.refresh.interval.ms": 30_000,  # new partitions are read as soon
}


class KafkaTopic:
    """All partitions of a topic, those included that are added later.

    Args:
      text: BROKERS/TOPIC, brokers separated by commas.
      options: which field is the id, which the text.
      config: file of settings for the client, as name=value lines.
      accept_loss: go on although messages were removed before they were read.
      look_seconds: how often new partitions are looked for.

    Raises:
      UsageError: if the text, the file or the installation is not as it must be.
    """

    acknowledges = False

    def __init__(
        self,
        text: str,
        options: InputOptions,
        config: str | None = None,
        *,
        accept_loss: bool = False,
        look_seconds: float = 30.0,
    ) -> None:
        brokers, _, topic = text.rpartition("/")
        if not brokers or not topic:
            raise UsageError(
                f"source kafka:{text} does not name brokers and a topic; expected"
                " kafka:HOST:PORT/TOPIC, as in kafka:localhost:9092/articles"
            )
        try:
            import confluent_kafka
        except ImportError:
            raise UsageError(
                "kafka: sources need confluent-kafka; install it with:"
                " pip install 'sensegrep[kafka]'"
            ) from None
        self._api = confluent_kafka
        self._brokers, self._topic = brokers, topic
        self._options = options
        self._accept_loss = accept_loss
        self._look_seconds = look_seconds
        client = logging.getLogger(f"{__name__}.client")
        if not logger.isEnabledFor(logging.INFO):
            client.setLevel(logging.CRITICAL)  # many lines for one fault, which is told in words
        self._cause = ""  # what the client told last of a connection that it could not make
        settings = {**_DEFAULTS, "bootstrap.servers": brokers, **_read_config(config), **_OURS}
        settings["error_cb"] = self._hear
        try:
            self._consumer = confluent_kafka.Consumer(settings, logger=client)
        except (confluent_kafka.KafkaException, ValueError, TypeError) as error:
            raise UsageError(
                f"Kafka's client refuses its settings ({config or 'no --kafka-config'}):"
                f" {_words(error)}"
            ) from error
        self._next: dict[int, int] = {}
        self.source_id = f"kafka:{self._cluster()}/{topic}"
        self._times: dict[int, float] = {}  # of the newest message read, seconds since 1970
        self._origins: dict[str, int] = {}
        self._lost: list[tuple[int, int, int]] = []  # partition, from, to
        self._looked = float("-inf")
        self._largest = _FIRST_BYTES  # of the messages read lately

    def _cluster(self) -> str:
        """Return the cluster's id, once the topic is known to be there."""
        self._partitions()
        return str(self._metadata().cluster_id or self._brokers)

    def _hear(self, error: Any) -> None:
        if error.code() != self._api.KafkaError._ALL_BROKERS_DOWN:
            self._cause = error.str()

    def _metadata(self) -> Any:
        try:
            return self._consumer.list_topics(self._topic, timeout=_ANSWER_SECONDS)
        except self._api.KafkaException as error:
            if not self._next:  # nothing is assigned, so that this takes no message
                self._consumer.poll(0)
            raise SourceUnavailable(
                f"no Kafka broker answers at {self._brokers} within {_ANSWER_SECONDS:g} s"
                f" ({self._cause or _words(error)}); check the address, that it is up, and"
                " --kafka-config for TLS and SASL"
            ) from error

    def _partitions(self) -> list[int]:
        found = self._metadata().topics[self._topic]
        codes = self._api.KafkaError
        if found.error is not None and found.error.code() in (
            codes.TOPIC_AUTHORIZATION_FAILED,
            codes.CLUSTER_AUTHORIZATION_FAILED,
        ):
            raise UsageError(
                f"this user may not read topic {self._topic!r} at {self._brokers}; it needs READ"
                " and DESCRIBE on the topic (--kafka-config sets the user)"
            )
        if found.error is not None or not found.partitions:
            why = "" if found.error is None else f" ({found.error.str()})"
            raise SourceUnavailable(
                f"topic {self._topic!r} does not exist at {self._brokers}{why}; create it, or"
                " check the name"
            )
        return sorted(found.partitions)

    def start(self, positions: Mapping[str, int], marks: Mapping[str, Mark]) -> dict[str, int]:
        """Read on from these offsets; a partition without one from its oldest message."""
        del marks
        self._lost = []
        for partition in self._partitions():
            known = positions.get(str(partition))
            low, high = self.watermarks(partition)
            self._next[partition] = low if known is None else known
            if known is not None:
                self._check_kept(partition, known, low, high)
        self._looked = time.monotonic()
        self._consumer.assign([self._place(partition) for partition in self._next])
        return {str(partition): offset for partition, offset in self._next.items()}

    def watermarks(self, partition: int) -> tuple[int, int]:
        """Ask for a partition's oldest offset, and the one after its newest."""
        try:
            low, high = self._consumer.get_watermark_offsets(
                self._api.TopicPartition(self._topic, partition), timeout=_ANSWER_SECONDS
            )
        except self._api.KafkaException as error:
            raise SourceUnavailable(
                f"partition {partition} of topic {self._topic!r} does not answer: {_words(error)}"
            ) from error
        return low, high

    def _place(self, partition: int) -> Any:
        lost = [end for lost, _, end in self._lost if lost == partition]
        offset = max([self._next[partition], *lost])
        return self._api.TopicPartition(self._topic, partition, offset)

    def _check_kept(self, partition: int, position: int, low: int, high: int) -> None:
        """Check that what is read next is still there."""
        place = f"partition {partition} of topic {self._topic!r}"
        if position > high:
            raise RecordsLost(
                f"{place} ends at offset {high}, but the corpus has read it to {position}: was"
                " the topic deleted and created again? Give --replace-source to read it from its"
                " beginning"
            )
        if position < low:
            if not self._accept_loss:
                raise RecordsLost(
                    f"offsets {position} to {low - 1} of {place} were removed by Kafka (retention)"
                    " before they were read; to continue without them give --accept-loss, and give"
                    " the topic a longer retention"
                )
            self._lost.append((partition, position, low))

    def fill(self, batch: StreamBatch, limits: BatchLimits, seconds: float) -> bool:
        """Add the messages that come within so many seconds."""
        until = time.monotonic() + seconds
        before = len(batch.records)
        self._look_for_partitions()
        self._tell_of_losses(batch)
        batch.origins.update(self._origins)
        while not batch.is_full(limits):
            left = until - time.monotonic()
            if left <= 0:
                break
            # What is consumed is in memory at once, so as many as the rest of the bytes may hold.
            room = max(1, (limits.bytes - batch.bytes) // self._largest)
            room = min(room, _POLL_MESSAGES, limits.records - len(batch.records))
            messages = self._consumer.consume(room, timeout=min(left, _POLL_SECONDS))
            for message in messages:
                self._take(batch, message)
            sizes = [_MESSAGE_BYTES + len(message.value() or b"") for message in messages]
            self._largest = max(self._largest // 2, _MESSAGE_BYTES, *sizes)
        return len(batch.records) > before

    def _take(self, batch: StreamBatch, message: Any) -> None:
        if message.error() is not None:
            self._take_event(batch, message)
            return
        partition, offset = message.partition(), message.offset()
        # Offsets between belong to the broker (transactions) or were compacted away.
        batch.cover(str(partition), self._next[partition], offset + 1)
        self._next[partition] = offset + 1
        kind, milliseconds = message.timestamp()
        if kind != self._api.TIMESTAMP_NOT_AVAILABLE:
            self._times[partition] = milliseconds / 1000
        payload, key = message.value(), message.key()
        record = message_from_payload(self._file(partition), self._options, offset, payload, key)
        batch.add(record, _MESSAGE_BYTES + len(payload or b"") + len(key or b""))

    def _take_event(self, batch: StreamBatch, message: Any) -> None:
        error, codes = message.error(), self._api.KafkaError
        partition = message.partition()
        if error.code() == codes._PARTITION_EOF:
            if message.offset() > self._next[partition]:
                batch.cover(str(partition), self._next[partition], message.offset())
                self._next[partition] = message.offset()
        elif error.code() in (codes._AUTO_OFFSET_RESET, codes.OFFSET_OUT_OF_RANGE):
            low, high = self.watermarks(partition)
            self._check_kept(partition, self._next[partition], low, high)
            self._tell_of_losses(batch)
            self._consumer.incremental_unassign([self._place(partition)])
            self._consumer.incremental_assign([self._place(partition)])
        elif error.fatal() or error.code() in (
            codes.TOPIC_AUTHORIZATION_FAILED,
            codes.UNKNOWN_TOPIC_OR_PART,
            codes._UNKNOWN_PARTITION,
        ):
            raise SourceUnavailable(f"topic {self._topic!r}: {error.str()}")
        else:  # the client tries again by itself
            logger.warning("topic %s: %s", self._topic, error.str())

    def _tell_of_losses(self, batch: StreamBatch) -> None:
        for partition, start, end in self._lost:
            batch.cover(str(partition), start, end)
            self._next[partition] = end
            detail = f"offsets {start} to {end - 1} were removed by Kafka before they were read"
            uri = self._file(partition).uri
            batch.add(Reject(uri, start, READ, "lost-by-retention", detail), _MESSAGE_BYTES)
            logger.warning("%s: %s", uri, detail)
        self._lost = []

    def _look_for_partitions(self) -> None:
        if time.monotonic() - self._looked < self._look_seconds:
            return
        self._looked = time.monotonic()
        for partition in set(self._partitions()) - self._next.keys():
            self._next[partition], _ = self.watermarks(partition)
            self._origins[str(partition)] = self._next[partition]
            self._consumer.incremental_assign([self._place(partition)])
            logger.info("partition %d of topic %s is new", partition, self._topic)

    def _file(self, partition: int) -> InputFile:
        return InputFile(f"kafka:{self._topic}/{partition}", "jsonl")

    def committed(self) -> None:
        """Nothing is told to Kafka: the corpus has the positions."""
        self._origins = {}

    def lag(self) -> Lag:
        """Count the offsets up to the end that the brokers told of last."""
        records, oldest = 0, time.time()
        for partition, position in self._next.items():
            place = self._api.TopicPartition(self._topic, partition)
            watermarks = self._consumer.get_watermark_offsets(place, cached=True)
            behind = max(0, watermarks[1] - position) if watermarks else 0
            if behind:
                oldest = min(oldest, self._times.get(partition, oldest))
            records += behind
        return Lag(records, max(0.0, time.time() - oldest) if records else 0.0)

    def close(self) -> None:
        """Leave the brokers."""
        self._consumer.close()


def _read_config(path: str | None) -> dict[str, str]:
    if path is None:
        return {}
    settings: dict[str, str] = {}
    try:
        with fsspec.open(path, encoding="utf-8", mode="rt") as file:
            lines = file.read().splitlines()
    except (OSError, ImportError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise UsageError(f"--kafka-config {path} cannot be read: {said}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, sign, value = line.partition("=")
        name = name.strip()
        if not sign or not name:  # the line is not shown: it may be a secret
            raise UsageError(
                f"--kafka-config {path}, line {number}: expected name=value, as in"
                " security.protocol=SASL_SSL"
            )
        if name == "bootstrap.servers":
            raise UsageError(
                f"--kafka-config {path}, line {number}: the brokers are those of the source, as in"
                " kafka:HOST:PORT/TOPIC; remove the line"
            )
        if name in _OURS:
            raise UsageError(
                f"--kafka-config {path}, line {number}: {name} cannot be set here, because a"
                f" stream needs it to be {_OURS[name]!r}; remove the line"
            )
        settings[name] = value.strip()
    return settings


def _words(error: Exception) -> str:
    first = error.args[0] if error.args else error
    return str(first.str()) if hasattr(first, "str") else str(first)
