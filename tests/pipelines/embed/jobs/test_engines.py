"""What engines are refused, and in which words; what Prism's life hangs on."""

import os
import socket
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]  # it publishes no types
import pytest

from pipelines.__main__ import main
from pipelines.embed.jobs import engines
from pipelines.embed.jobs.beam_flags import flag_value
from pipelines.embed.jobs.engines import Engine, choose_engine, prism
from pipelines.embed.jobs.job import EmbedJob
from pipelines.embed.options import JobOptions, ModelOptions
from pipelines.errors import UsageError

DATAFLOW = ("--runner=DataflowRunner", "--project=p", "--region=r", "--temp_location=gs://b/t")


def job(**settings: Any) -> EmbedJob:
    return EmbedJob(**{"inputs": ["in.jsonl"], "corpus": "corpus", **settings})


def engine_of(*flags: str) -> Engine:
    engine = choose_engine(flags)
    assert engine is not None
    return engine


@pytest.fixture
def closed_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def listening() -> Any:
    """The address of a server that speaks gRPC."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("localhost:0")
    server.start()
    yield f"localhost:{port}"
    server.stop(None)


def test_without_a_runner_or_with_one_process_the_job_is_this_process_s() -> None:
    assert choose_engine([]) is None
    assert choose_engine(["--runner=FnApiRunner"]) is None
    assert engine_of("--runner=FnApiRunner", "--direct_num_workers=2").is_here


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("DaskRunner", "it loses data and says that it is done"),
        ("apache_beam.runners.dask.dask_runner.DaskRunner", "is not offered"),
        ("DirectRunner", "may download Prism"),
        ("SamzaRunner", "expected one of FnApiRunner, PrismRunner, PortableRunner"),
    ],
)
def test_runner_that_is_not_offered_is_refused_by_name(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        choose_engine([f"--runner={name}"])


def test_prism_that_is_not_there_is_told_how_to_build(tmp_path: Path, closed_port: int) -> None:
    with pytest.raises(UsageError, match=r"needs --prism_location=PATH.*go install"):
        engine_of("--runner=PrismRunner").check(job())
    with pytest.raises(UsageError, match=r"nowhere, which is not a program; build it with"):
        engine_of("--runner=PrismRunner", f"--prism_location={tmp_path}/nowhere").check(job())
    address = f"localhost:{closed_port}"
    with pytest.raises(UsageError, match=f"no Prism answers at {address}; start it with: prism"):
        engine_of("--runner=PrismRunner", f"--job_endpoint={address}").check(job())


def test_job_server_and_worker_pool_must_answer(closed_port: int, listening: str) -> None:
    closed = f"localhost:{closed_port}"
    with pytest.raises(UsageError, match="needs --job_endpoint=HOST:PORT"):
        engine_of("--runner=PortableRunner").check(job(corpus="gs://b/c", inputs=["gs://b/i"]))
    flags = ("--runner=PortableRunner", "--environment_type=LOOPBACK")
    with pytest.raises(UsageError, match=f"no job server answers at {closed}"):
        engine_of(*flags, f"--job_endpoint={closed}").check(job())
    with pytest.raises(UsageError, match="'nonsense' is not an address"):
        engine_of(*flags, "--job_endpoint=nonsense").check(job(corpus="gs://b", inputs=["gs://i"]))
    flags = (
        "--runner=PortableRunner",
        "--environment_type=EXTERNAL",
        f"--job_endpoint={listening}",
    )
    with pytest.raises(UsageError, match=f"no worker pool answers at {closed}"):
        engine_of(*flags, f"--environment_config={closed}").check(job())
    with pytest.raises(UsageError, match="EXTERNAL needs --environment_config"):
        engine_of(*flags).check(job(corpus="gs://b/c", inputs=["gs://b/i"]))
    engine_of(*flags, f"--environment_config={listening}").check(job())


def test_what_answers_but_is_no_job_server_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engines, "CONNECT_SECONDS", 0.3)
    with socket.create_server(("localhost", 0)) as server:
        address = f"localhost:{server.getsockname()[1]}"
        with pytest.raises(UsageError, match=f"server at {address} is not a Prism: it does"):
            engine_of("--runner=PrismRunner", f"--job_endpoint={address}").check(job())


def test_job_of_more_than_five_minutes_is_not_given_up(listening: str) -> None:
    """Beam's default ends the streams of a job's state and messages after 300 s."""
    flags = ("--runner=PrismRunner", f"--job_endpoint={listening}")
    with engine_of(*flags).start() as found:
        assert int(str(flag_value(found, "--job_server_timeout"))) > 86_400 * 365
    with engine_of(*flags, "--job_server_timeout=7").start() as found:
        assert flag_value(found, "--job_server_timeout") == "7"


def test_flink_needs_its_job_server(tmp_path: Path) -> None:
    remote = job(corpus="gs://b/c", inputs=["gs://b/i"])
    flags = ("--runner=FlinkRunner", "--flink_master=flink:8081")
    with pytest.raises(UsageError, match=r"needs --flink_job_server_jar=PATH.*nothing is down"):
        engine_of(*flags).check(remote)
    jar = tmp_path / "no.jar"
    with pytest.raises(UsageError, match=r"no\.jar, which does not exist"):
        engine_of(*flags, f"--flink_job_server_jar={jar}").check(remote)


def test_path_that_workers_do_not_see_is_refused_with_what_to_use() -> None:
    there = {"corpus": "gs://b/c", "inputs": ["gs://b/i.jsonl"]}
    elsewhere = ("--runner=PortableRunner", "--job_endpoint=far:1")
    for flags in (DATAFLOW, elsewhere):
        for wrong, what in [
            ({"corpus": "my/corpus"}, "the corpus my/corpus is a path of this machine"),
            ({"inputs": ["in.jsonl"]}, r"the input in\.jsonl is a path .*gs://BUCKET"),
            ({"model": ModelOptions(model="./m")}, r"the model \./m is a path of this machine"),
            ({"corpus": "memory://c"}, "in the memory of this process"),
        ]:
            with pytest.raises(UsageError, match=what) as refused:
                engine_of(*flags).check(job(**{**there, **wrong}))
            assert "file://" not in str(refused.value) or flags is elsewhere  # refused there, too
    mounted = {"corpus": "file:///mnt/c", "inputs": ["file:///mnt/i"]}
    with pytest.raises(UsageError, match="Dataflow's workers do not see"):
        engine_of(*DATAFLOW).check(job(**mounted))
    with pytest.raises(UsageError, match="no job server answers at far:1"):
        engine_of(*elsewhere).check(job(**mounted))


def test_flags_that_contradict_are_refused(tmp_path: Path) -> None:
    program = tmp_path / "prism"
    program.write_text("#!/bin/sh\nexit 7\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    engine = engine_of("--runner=PrismRunner", f"--prism_location={program}")
    for settings, words in [
        ({"running": JobOptions(workers=2)}, "--workers is for a run on this machine"),
        ({"running": JobOptions(wait=False)}, "--no-wait cannot be used with PrismRunner here"),
        ({"single_writer": True}, "--single-writer cannot be used with --runner"),
        ({"inputs": ["-"]}, r"standard input \(-\) cannot be read by the workers"),
    ]:
        with pytest.raises(UsageError, match=words):
            engine.check(job(**settings))
    with pytest.raises(UsageError, match="--no-wait cannot be used with --dry-run"):
        engine_of(*DATAFLOW).check(job(running=JobOptions(wait=False)), dry_run=True)
    with (
        pytest.raises(RuntimeError, match="ended with status 7 instead of starting"),
        prism(str(program)),
    ):
        raise AssertionError


def test_missing_dataflow_flags_or_packages_are_named() -> None:
    remote = job(corpus="gs://b/c", inputs=["gs://b/i"])
    with pytest.raises(UsageError, match=r"pip install 'apache-beam\[gcp\]'|--region, --temp"):
        engine_of("--runner=DataflowRunner", "--project=p").check(remote)


@pytest.mark.parametrize("flag", [["--no-wait"], ["--part-bytes", "1M"], ["--parts-per-segment=2"]])
def test_options_of_engines_need_one(
    flag: list[str], write_jsonl: Callable[..., Path], capsys: Any, tmp_path: Path
) -> None:
    source = write_jsonl([{"text": "One."}])
    assert main(["embed", str(source), "--corpus", str(tmp_path / "c"), *flag]) == 2
    assert "is for a job on an engine; give --runner too" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["in.jsonl"]
