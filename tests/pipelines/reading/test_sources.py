"""Sources by name."""

from pathlib import Path

import fsspec
import pytest

from pipelines.errors import UsageError
from pipelines.reading.options import InputOptions
from pipelines.reading.sources import open_source
from pipelines.reading.watched_files import WatchedFiles


def test_a_folder_is_opened(tmp_path: Path) -> None:
    source = open_source(f"watch:{tmp_path}/*.jsonl", InputOptions())
    assert isinstance(source, WatchedFiles)
    assert source.source_id == f"watch:{tmp_path}/*.jsonl"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "articles.jsonl",
            "unknown kind of source 'articles.jsonl'; expected watch:GLOB, kafka:BROKERS/TOPIC or",
        ),
        ("", "unknown kind of source ''"),
        ("kafka:articles", "does not name brokers and a topic; expected kafka:HOST:PORT/TOPIC"),
        ("kafka:host:9092/", "does not name brokers and a topic"),
        ("pubsub:articles", "does not name a subscription; expected pubsub:projects/PROJECT/"),
        ("pubsub:projects/p/topics/t", "does not name a subscription"),
    ],
)
def test_what_names_no_source_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        open_source(text, InputOptions())


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("security.protocol", "line 1: expected name=value"),
        ("# a remark\n\nenable.auto.commit=true", "line 3: enable.auto.commit cannot be set here"),
        ("bootstrap.servers=other:1", "line 1: the brokers are those of the source"),
        ("no.such.setting=1", "refuses its settings .*no.such.setting"),
        ("security.protocol=magic", "refuses its settings .*security.protocol"),
    ],
)
def test_settings_of_kafkas_client_are_checked(tmp_path: Path, lines: str, words: str) -> None:
    config = tmp_path / "kafka.properties"
    config.write_text(lines)
    with pytest.raises(UsageError, match=words):
        open_source("kafka:localhost:1/t", InputOptions(), str(config))


def test_settings_may_stand_at_a_url() -> None:
    with fsspec.open("memory://settings/kafka.properties", "w") as file:
        file.write("security.protocol=magic\n")
    with pytest.raises(UsageError, match=r"refuses its settings \(memory://settings/.*magic"):
        open_source("kafka:localhost:1/t", InputOptions(), "memory://settings/kafka.properties")
    with pytest.raises(UsageError, match="--kafka-config memory://settings/none cannot be read"):
        open_source("kafka:localhost:1/t", InputOptions(), "memory://settings/none")


def test_settings_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--kafka-config .*none cannot be read"):
        open_source("kafka:localhost:1/t", InputOptions(), str(tmp_path / "none"))


def test_settings_of_kafka_are_for_kafka(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--kafka-config is for kafka: sources"):
        open_source(f"watch:{tmp_path}/*.jsonl", InputOptions(), "x")
