"""Dataflow by a dry run: the job's graph, its images and hints; no cloud is reached."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.engine
ROOT = Path(__file__).resolve().parent.parent.parent
# Beam's Google Cloud packages, apart from the environment of the other tests.
PACKAGES = Path(os.environ.get("SENSEGREP_GCP_PACKAGES", ROOT / ".engines" / "gcp"))
FLAGS = (
    "--runner=DataflowRunner",
    "--dry_run=True",
    "--project=some-project",
    "--region=europe-west4",
    "--temp_location=gs://some-bucket/tmp",
    "--sdk_container_image=europe-docker.pkg.dev/some-project/sensegrep/gpu:1",
    "--dataflow_service_options=worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver",
    "--resource_hints=min_ram=8GB",
    "--max_num_workers=4",
    "--no_auth",
)
GROUP, RESHUFFLE = "beam:transform:group_by_key:v1", "beam:transform:reshuffle:v1"


def job_of(source: Path | str, tmp_path: Path, model: Path, *more: str) -> dict[str, Any]:
    if not PACKAGES.is_dir():
        pytest.skip(f"needs Beam's Google Cloud packages at {PACKAGES}; see make test-engines")
    script = Path(__file__).with_name("dataflow_graph.py")
    done = subprocess.run(
        [sys.executable, script, source, tmp_path / "corpus", model, *FLAGS, *more],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{PACKAGES}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    job: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return job


def sparse_file(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def test_graph_shuffles_digests_only_and_embeds_in_one_stage(
    tmp_path: Path, tiny_elmo_dir: Path
) -> None:
    job = job_of(sparse_file(tmp_path / "in.jsonl", 1 << 20), tmp_path, tiny_elmo_dir)
    steps = job["transforms"].values()
    by_output = {
        o: s for s in steps for o in s.get("outputs", {}).values() if "subtransforms" not in s
    }

    def kind(step: dict[str, Any]) -> str:
        return str(step["spec"].get("urn", "")) if "spec" in step else ""

    groups = {s["uniqueName"].split("/")[0] for s in steps if kind(s) == GROUP}
    assert {
        "GroupById",
        "GroupRejects",
        "GroupByPiece",
        "ReserveSegment",
        "CommitSegment",
    } <= groups
    assert "EmbedParts" not in groups
    # From the commit's grouping back to the tasks there is no shuffle: texts and vectors stay.
    [step] = [
        s for s in steps if s["uniqueName"] == "CommitSegment/GroupBySegment" and kind(s) == GROUP
    ]
    passed, todo = [], [*step["inputs"].values()]
    while todo:
        before = by_output[todo.pop()]
        passed.append(before["uniqueName"])
        if before["uniqueName"].startswith(("EmbedParts", "CommitSegment")):
            assert kind(before) not in (GROUP, RESHUFFLE)
            todo += before["inputs"].values()
    names = " ".join(passed)
    assert "EmbedParts/Read" in names
    assert "RunElmo" in names
    assert "EmbedParts/Settle" in names
    assert "ReserveSegment/SpreadParts" in names


def test_images_hints_and_accelerators_reach_the_job(tmp_path: Path, tiny_elmo_dir: Path) -> None:
    job = job_of(sparse_file(tmp_path / "in.jsonl", 1 << 20), tmp_path, tiny_elmo_dir)
    assert {e["image"] for e in job["environments"]} == {
        "europe-docker.pkg.dev/some-project/sensegrep/gpu:1"
    }
    assert any(
        e["hints"] == {"beam:resources:min_ram_bytes:v1": "8000000000"} for e in job["environments"]
    )
    assert job["options"]["dataflow_service_options"] == [FLAGS[6].partition("=")[2]]
    assert job["options"]["max_num_workers"] == 4


def test_a_stream_is_a_streaming_job_with_one_reader_and_one_committer(
    tmp_path: Path, tiny_elmo_dir: Path
) -> None:
    job = job_of(f"watch:{tmp_path}/*.jsonl", tmp_path, tiny_elmo_dir, "--streaming")
    steps = {step["uniqueName"]: step.get("spec", {}) for step in job["transforms"].values()}
    assert {"ReadStream", "EmbedBatch", "CommitBatches"} <= steps.keys()
    assert steps["Spread"]["urn"] == RESHUFFLE
    assert GROUP not in [spec.get("urn") for name, spec in steps.items() if "Spread" not in name]
    assert job["options"]["streaming"] is True
    assert len(job["environments"]) == 1


def test_graph_does_not_grow_with_the_input(tmp_path: Path, tiny_elmo_dir: Path) -> None:
    small = job_of(sparse_file(tmp_path / "a.jsonl", 1 << 20), tmp_path, tiny_elmo_dir)
    large = job_of(sparse_file(tmp_path / "b.jsonl", 50 << 30), tmp_path, tiny_elmo_dir)
    assert abs(large["bytes"] - small["bytes"]) < 2000
