"""A Pub/Sub subscription as the source of a stream (extra: gcp).

Pub/Sub delivers again and out of order, so what was applied last is remembered for each document:
an older or repeated message is passed over. Messages are acknowledged once a snapshot holds them.
"""

import logging
import re
import threading
import time
from collections.abc import Mapping
from typing import Any

from pipelines.errors import UsageError
from pipelines.reading.documents import Reject
from pipelines.reading.input_files import InputFile
from pipelines.reading.messages import Message, message_from_payload
from pipelines.reading.options import InputOptions
from pipelines.reading.stream_batch import (
    BatchLimits,
    Lag,
    Mark,
    SourceUnavailable,
    StreamBatch,
)

logger = logging.getLogger(__name__)

BATCHES = "batches"  # the one partition: a position is an answer to a pull
LEASE_SECONDS = 60
_PULL_MESSAGES = 500
_ACK_MESSAGES = 500
_MESSAGE_BYTES = 300
# No subscription keeps a message longer, so that no older one can come again.
GUARD_SECONDS = 32 * 86400
_DEADLINE_SECONDS = 10.0


class PubsubSubscription:
    """Messages of a subscription, pulled.

    Args:
      text: projects/PROJECT/subscriptions/SUBSCRIPTION.
      options: which field is the id, which the text.

    Raises:
      UsageError: if the text or the installation is not as it must be.
    """

    acknowledges = True

    def __init__(self, text: str, options: InputOptions) -> None:
        if not re.fullmatch(r"projects/[^/]+/subscriptions/[^/]+", text):
            raise UsageError(
                f"source pubsub:{text} does not name a subscription; expected"
                " pubsub:projects/PROJECT/subscriptions/SUBSCRIPTION"
            )
        try:
            from google.api_core import exceptions
            from google.cloud import pubsub_v1
        except ImportError:
            raise UsageError(
                "pubsub: sources need google-cloud-pubsub; install it with:"
                " pip install 'sensegrep[gcp]'"
            ) from None
        self.source_id = f"pubsub:{text}"
        self._subscription = text
        self._options = options
        self._errors = exceptions
        try:
            self._client = pubsub_v1.SubscriberClient()
        except Exception as error:  # google.auth has its own errors, and imports late
            raise UsageError(
                f"no credentials for {self.source_id}: {error}; see `gcloud auth"
                " application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS"
            ) from error
        self._next = 0
        self._guards: dict[str, Mark] = {}
        self._expired: dict[str, Mark] = {}
        self._held: list[str] = []  # ids to acknowledge after the commit
        self._lock = threading.Lock()
        self._came = False
        self._newest = 0.0
        self._ended = threading.Event()
        self._leases = threading.Thread(target=self._extend, name="leases", daemon=True)

    def start(self, positions: Mapping[str, int], marks: Mapping[str, Mark]) -> dict[str, int]:
        """Go on; what was committed and not acknowledged comes again and is passed over."""
        self._check_rights()
        oldest = int((time.time() - GUARD_SECONDS) * 1e6)
        self._guards = {key: mark for key, mark in marks.items() if mark.position >= oldest}
        self._expired = {key: Mark("") for key in marks.keys() - self._guards.keys()}
        self._next = positions.get(BATCHES, 0)
        self._leases.start()
        return {BATCHES: self._next}

    def _check_rights(self) -> None:
        needed = "pubsub.subscriptions.consume"
        request = {"resource": self._subscription, "permissions": [needed]}
        try:
            answer = self._client.test_iam_permissions(request=request, timeout=_DEADLINE_SECONDS)
        except self._errors.NotFound as error:
            raise SourceUnavailable(
                f"subscription {self._subscription} does not exist; create it, or check the name"
            ) from error
        except self._errors.GoogleAPICallError as error:
            raise SourceUnavailable(f"{self.source_id} does not answer: {error}") from error
        if needed not in answer.permissions:
            raise UsageError(
                f"these credentials may not read {self.source_id}; they need {needed}"
                " (roles/pubsub.subscriber)"
            )

    def fill(self, batch: StreamBatch, limits: BatchLimits, seconds: float) -> bool:
        """Add what one pull after the other gives within so many seconds."""
        until, before = time.monotonic() + seconds, len(batch.records)
        while not batch.is_full(limits):
            left = until - time.monotonic()
            if left <= 0:
                break
            room = min(_PULL_MESSAGES, limits.records - len(batch.records))
            received, read = self._pull(room, left), len(batch.records)
            self._take(batch, received)
            # What is delivered again is nothing new: a stream that has only such is idle.
            self._came = len(batch.records) > read
            if not received:
                break
        return len(batch.records) > before

    def _pull(self, most: int, seconds: float) -> list[Any]:
        request = {"subscription": self._subscription, "max_messages": most}
        try:
            answer = self._client.pull(request=request, timeout=max(seconds, 0.1))
        except (self._errors.DeadlineExceeded, self._errors.RetryError):
            return []  # nothing came in time
        except self._errors.ServiceUnavailable as error:
            logger.warning("%s: %s", self.source_id, error)
            return []
        except self._errors.GoogleAPICallError as error:
            raise SourceUnavailable(f"{self.source_id} cannot be pulled: {error}") from error
        return list(answer.received_messages)

    def _take(self, batch: StreamBatch, received: list[Any]) -> None:
        done: list[str] = []  # committed before
        with self._lock:
            self._held += [each.ack_id for each in received]
        self._lease([each.ack_id for each in received])
        for each in received:
            key, message, mark = self._read(each.message)
            known = self._guards.get(key)
            if known is not None and _order(mark) <= _order(known):
                batch.skipped += 1
                if key not in batch.marks:
                    done.append(each.ack_id)
                continue
            self._guards[key] = batch.marks[key] = mark
            self._newest = mark.position / 1e6
            batch.add(message, _MESSAGE_BYTES + len(each.message.data))
        if batch.marks:
            batch.marks.update(self._expired)
            self._expired = {}
            batch.cover(BATCHES, self._next, self._next + 1)
            self._next += 1
        self._acknowledge(done)

    def _read(self, raw: Any) -> tuple[str, Message, Mark]:
        """Return what names a message's document, the message, and its place in the order."""
        published = int(raw.publish_time.timestamp() * 1e6)
        file = InputFile(f"{self.source_id}/{raw.message_id}", "jsonl")
        key = raw.attributes.get("id", "").encode() or None
        message = message_from_payload(file, self._options, published, bytes(raw.data), key)
        if isinstance(message, Reject):
            return f"message {raw.message_id}", message, Mark(str(raw.message_id), published)
        return f"id {message.doc_id}", message, Mark(str(raw.message_id), published)

    def committed(self) -> None:
        """Acknowledge what the newest snapshot holds."""
        with self._lock:
            held, self._held = self._held, []
        self._acknowledge(held)

    def _acknowledge(self, ack_ids: list[str]) -> None:
        with self._lock:
            gone = set(ack_ids)
            self._held = [ack_id for ack_id in self._held if ack_id not in gone]
        for first in range(0, len(ack_ids), _ACK_MESSAGES):
            request = {
                "subscription": self._subscription,
                "ack_ids": ack_ids[first : first + _ACK_MESSAGES],
            }
            try:
                self._client.acknowledge(request=request, timeout=_DEADLINE_SECONDS)
            except self._errors.GoogleAPICallError as error:
                # They come again, and are passed over then.
                logger.warning("%s: acknowledging failed: %s", self.source_id, error)

    def _lease(self, ack_ids: list[str]) -> None:
        for first in range(0, len(ack_ids), _ACK_MESSAGES):
            request = {
                "subscription": self._subscription,
                "ack_ids": ack_ids[first : first + _ACK_MESSAGES],
                "ack_deadline_seconds": LEASE_SECONDS,
            }
            try:
                self._client.modify_ack_deadline(request=request, timeout=_DEADLINE_SECONDS)
            except self._errors.GoogleAPICallError as error:
                logger.warning("%s: extending leases failed: %s", self.source_id, error)

    def _extend(self) -> None:
        while not self._ended.wait(LEASE_SECONDS / 3):
            with self._lock:
                held = list(self._held)
            self._lease(held)

    def lag(self) -> Lag:
        """Pub/Sub does not tell how much waits: 1 record as long as pulls find something."""
        if not self._came:
            return Lag()
        return Lag(1, max(0.0, time.time() - self._newest))

    def close(self) -> None:
        """End the leases; what is not acknowledged is delivered again."""
        self._ended.set()
        if self._leases.is_alive():
            self._leases.join()
        self._client.close()


def _order(mark: Mark) -> tuple[int, int, str]:
    """Sort by time of publishing; ids are numbers, which grow longer."""
    return mark.position, len(mark.value), mark.value
