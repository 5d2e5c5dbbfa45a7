"""The worker image's way of working, without the image: Beam's own `boot`, started by a worker pool
with the environment that the Dockerfile sets, embeds a corpus.

`boot --worker_pool` starts just this pool, with itself at the path that it has in the image.
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path

import pytest

from pipelines.corpus.view import CorpusView

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 240


def image_environment() -> dict[str, str]:
    """Return the variables that the Dockerfile sets for what runs in the image."""
    text = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")
    [stage] = re.findall(r"^FROM dependencies AS runtime\n(.*?)^FROM ", text, re.M | re.S)
    pairs = re.findall(r"^ENV (.*)$", stage, re.MULTILINE)
    return dict(pair.split("=", 1) for line in pairs for pair in line.split())


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., tuple[Path, subprocess.Popen[bytes]]]]:
    """A function that starts a program and returns its log; it ends with the test."""
    running: list[subprocess.Popen[bytes]] = []

    def run(name: str, *words: str, env: Mapping[str, str]) -> tuple[Path, subprocess.Popen[bytes]]:
        log = tmp_path / f"{name}.log"
        fixed = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                 "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}  # fmt: skip
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", *words],
                cwd=tmp_path,
                env={**fixed, **env},
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        running.append(process)
        return log, process

    yield run
    for process in reversed(running):
        # The pool's workers are of its session.
        if process.poll() is None:
            os.killpg(process.pid, 15)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


@pytest.fixture
def job(
    start: Callable[..., tuple[Path, subprocess.Popen[bytes]]],
    tools: Path,
    tmp_path: Path,
    tiny_elmo_dir: Path,
) -> Callable[[Mapping[str, str]], tuple[Path, Path, subprocess.Popen[bytes]]]:
    """A function that embeds through a pool of such an environment; returns logs and the job."""
    boot = tools / "bin" / f"boot-{metadata.version('apache-beam')}"
    if not boot.exists():
        pytest.skip("needs Beam's boot, which `make check-deploy` builds")
    lines = [json.dumps({"id": str(n), "text": f"The bank, {n}."}) for n in range(20)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def run(env: Mapping[str, str]) -> tuple[Path, Path, subprocess.Popen[bytes]]:
        service, pool = free_port(), free_port()
        here = {**env, "HOME": str(tmp_path)}
        start("service", "apache_beam.runners.portability.local_job_service_main",
              f"--port={service}", env={"HOME": str(tmp_path)})  # fmt: skip
        pool_log, _ = start(
            "pool",
            "apache_beam.runners.worker.worker_pool_main",
            f"--service_port={pool}",
            f"--container_executable={boot}",
            env=here,
        )
        until(lambda: all(map(answers, (service, pool))))
        words = ("embed", "in.jsonl", "--corpus=corpus", f"--model={tiny_elmo_dir}")
        flags = (
            "--runner=PortableRunner",
            f"--job_endpoint=localhost:{service}",
            "--environment_type=EXTERNAL",
            f"--environment_config=localhost:{pool}",
        )
        log, process = start("job", "pipelines", *words, *flags, env={"HOME": str(tmp_path)})
        return pool_log, log, process

    return run


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def until(holds: Callable[[], bool]) -> bool:
    """Wait until something holds; returns whether it did within the time."""
    for _ in range(SECONDS * 2):
        if holds():
            return True
        time.sleep(0.5)
    return False


def test_boot_embeds_in_the_environment_of_the_image(
    job: Callable[..., tuple[Path, Path, subprocess.Popen[bytes]]], tmp_path: Path
) -> None:
    pool, log, process = job(image_environment())
    assert process.wait(timeout=SECONDS) == 0, log.read_text() + pool.read_text()
    assert CorpusView.open(str(tmp_path / "corpus")).live_counts()["documents"] == 20
    assert "embedded 20 of 20 documents" in log.read_text()


def test_without_that_environment_boot_does_not_find_beam(
    job: Callable[..., tuple[Path, Path, subprocess.Popen[bytes]]], tmp_path: Path
) -> None:
    environment = image_environment()
    assert environment.pop("RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT") == "1"
    pool, log, _ = job(environment)
    said = until(lambda: "Apache Beam is not installed" in pool.read_text() + log.read_text())
    assert said, pool.read_text()[-2000:]
    assert not (tmp_path / "corpus" / "snapshots").exists()
