"""The alerts on a stream: they ask for metrics that a stream has."""

import re
import socket
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.commands.stream_metrics import serve_metrics
from pipelines.embed.jobs.stream_job import StreamStatus

RULES = Path(__file__).resolve().parents[2] / "deploy" / "prometheus" / "stream-rules.yaml"


@pytest.fixture(scope="module")
def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return list(group["rules"])


def test_alerts_ask_for_metrics_that_are_served(rules: list[dict[str, Any]]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with (
        serve_metrics(StreamStatus(), port),
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        served = set(re.findall(r"^(sensegrep_stream_\w+) ", answer.read().decode(), re.MULTILINE))
    for rule in rules:
        asked = set(re.findall(r"sensegrep_stream_\w+", rule["expr"]))
        assert asked
        assert asked <= served, rule["alert"]


def test_alerts_say_what_is_wrong(rules: list[dict[str, Any]]) -> None:
    assert [rule["alert"] for rule in rules if not rule["annotations"]["summary"]] == []
    assert {rule["labels"]["severity"] for rule in rules} == {"warning", "critical"}
