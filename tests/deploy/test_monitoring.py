"""Alerts and the dashboard: by Prometheus's own tool, and against the metrics that there are."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str]]
Break = Callable[[str, str, str], None]
FOLDER = "deploy/monitoring"
# What Prometheus and kube-state-metrics bring.
FOREIGN = {
    "up",
    "kube_job_status_failed",
    "kube_job_status_active",
    "kube_job_status_succeeded",
    "kube_cronjob_status_last_successful_time",
}


def named(copy: Path) -> set[str]:
    """Return the names of metrics in the alerts and the dashboard."""
    rules = (copy / FOLDER / "alerts.yaml").read_text(encoding="utf-8")
    board = (copy / FOLDER / "dashboard.json").read_text(encoding="utf-8")
    return set(re.findall(r"\b(?:sensegrep|kube)_[a-z_]+\b(?!-)|\bup\b(?=\{)", rules + board))


def offered() -> set[str]:
    """Return the names of metrics that `sensegrep serve` shows, once something was counted."""
    metrics = pytest.importorskip("pipelines.serving.metrics", reason="needs the extra serve")
    shown = metrics.Metrics()
    shown.requests.labels("/v1/search", "GET", "200").inc()
    shown.latency.labels("/v1/search").observe(1.0)
    text = shown.render().decode()
    # Those of the corpus are made where one is open; their names stand in the source.
    source = Path(metrics.__file__).read_text(encoding="utf-8")
    corpus = {f"sensegrep_{name}" for name in re.findall(r'_gauge\(\s*"(\w+)"', source)}
    return set(re.findall(r"^(\w+)[{ ]", text, flags=re.MULTILINE)) | corpus


def test_alerts_are_sound_and_fire_on_what_they_are_for(run_tool: Run, copy: Path) -> None:
    status, text = run_tool("promtool", "check", "rules", copy / FOLDER / "alerts.yaml")
    assert status == 0, text
    status, text = run_tool("promtool", "test", "rules", copy / FOLDER / "alerts_test.yaml")
    assert status == 0, text


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("> 0.02", "> 0.2", "SensegrepErrors"),
        ("sensegrep_ready == 0", "sensegrep_ready == 2", "SensegrepNotReady"),
        ("sum by (instance) (rate", "sum by (instance (rate", "could not parse expression"),
        ("        for: 30m", "        four: 30m", "field four not found"),
        ("2 * 86400", "9 * 86400", "SensegrepRunMissing"),
        ("unless on (namespace, job_name)", "or on (namespace, job_name)", "SensegrepRunFailed"),
    ],
)
def test_promtool_refuses_a_broken_twin(
    run_tool: Run, copy: Path, break_file: Break, old: str, new: str, words: str
) -> None:
    break_file(f"{FOLDER}/alerts.yaml", old, new)
    status, text = run_tool("promtool", "test", "rules", copy / FOLDER / "alerts_test.yaml")
    assert status != 0
    assert words in text


def test_every_metric_that_is_named_is_there(copy: Path) -> None:
    assert len(named(copy)) >= 15
    assert named(copy) - offered() - FOREIGN == set()


def test_a_metric_that_is_not_there_is_seen(copy: Path, break_file: Break) -> None:
    break_file(f"{FOLDER}/alerts.yaml", "sensegrep_refresh_failed", "sensegrep_refresh_fails")
    assert named(copy) - offered() - FOREIGN == {"sensegrep_refresh_fails"}


def test_every_alert_has_a_test_and_says_what_to_do(copy: Path) -> None:
    rules = (copy / FOLDER / "alerts.yaml").read_text(encoding="utf-8")
    tests = (copy / FOLDER / "alerts_test.yaml").read_text(encoding="utf-8")
    alerts = re.findall(r"alert: (\w+)", rules)
    assert len(alerts) == rules.count("action: ") == rules.count("summary: ")
    for alert in alerts:
        assert f"- alertname: {alert}\n" in tests, f"{alert} never fires in a test"


def test_panels_of_the_dashboard_do_not_overlap(copy: Path) -> None:
    board = json.loads((copy / FOLDER / "dashboard.json").read_text(encoding="utf-8"))
    cells = [
        (x, y)
        for panel in board["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
