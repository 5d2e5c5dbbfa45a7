"""The sources of a stream by name: watch:, kafka: and pubsub:."""

from pipelines.errors import UsageError
from pipelines.reading.options import InputOptions
from pipelines.reading.stream_batch import Source


def open_source(
    text: str,
    options: InputOptions,
    kafka_config: str | None = None,
    accept_loss: bool = False,
) -> Source:
    """Return the source that a text such as watch:in/*.jsonl names.

    Args:
      text: watch:GLOB, kafka:BROKERS/TOPIC or pubsub:projects/P/subscriptions/S.
      options: how records become documents.
      kafka_config: file of settings for Kafka's client.
      accept_loss: go on although Kafka has removed what was not read yet.

    Raises:
      UsageError: if it names none.
    """
    kind, _, rest = text.partition(":")
    if kind != "kafka" and kafka_config is not None:
        raise UsageError(f"--kafka-config is for kafka: sources, but the source is {text!r}")
    if kind == "watch":
        from pipelines.reading.watched_files import WatchedFiles

        return WatchedFiles(rest, options)
    if kind == "kafka":
        from pipelines.reading.kafka_topic import KafkaTopic

        return KafkaTopic(rest, options, kafka_config, accept_loss=accept_loss)
    if kind == "pubsub":
        from pipelines.reading.pubsub_subscription import PubsubSubscription

        return PubsubSubscription(rest, options)
    raise UsageError(
        f"unknown kind of source {text!r}; expected watch:GLOB, kafka:BROKERS/TOPIC or"
        " pubsub:projects/PROJECT/subscriptions/SUBSCRIPTION"
    )
