"""The engines: which flags they need, whether they answer, how Prism is started.

Everything is checked before a job is submitted: an engine that does not answer, or that cannot see
what it is given, is told of in words and never waited for.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipelines.corpus.atomic_files import LOCAL_PROTOCOLS
from pipelines.embed.jobs.beam_flags import LOCAL_RUNNER, flag_value, quieten_workers
from pipelines.embed.jobs.job import EmbedJob
from pipelines.embed.jobs.stream_job import StreamJob
from pipelines.errors import UsageError
from pipelines.reading.input_files import STDIN

OFFERED = ("FnApiRunner", "PrismRunner", "PortableRunner", "FlinkRunner", "DataflowRunner")
REFUSED = {
    "DirectRunner": "it is a choice among others, and may download Prism or run what it cannot;"
    " name FnApiRunner or PrismRunner",
    "DaskRunner": "it loses data and says that it is done (Beam 2.77): of the outputs of a step"
    " only the main one arrives, and metrics and side inputs fail; name PrismRunner or"
    " PortableRunner",
}
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1", "[::1]")
CONNECT_SECONDS = 10.0
START_SECONDS = 60.0
LONGEST_JOB_SECONDS = 10 * 365 * 86_400


@dataclass(frozen=True)
class Engine:
    """An engine and the flags it is given.

    Attributes:
      name: the runner's.
      flags: for Beam.
    """

    name: str
    flags: tuple[str, ...]

    @property
    def environment(self) -> str:
        """How workers are started: LOOPBACK, EXTERNAL, PROCESS, DOCKER, or empty."""
        default = {"PrismRunner": "LOOPBACK", "PortableRunner": "DOCKER", "FlinkRunner": "DOCKER"}
        found = flag_value(self.flags, "--environment_type")
        return (found or default.get(self.name, "")).upper()

    @property
    def address(self) -> str | None:
        """HOST:PORT of the job server, or of Flink; None if there is none or it is started here."""
        endpoint = flag_value(self.flags, "--job_endpoint")
        master = flag_value(self.flags, "--flink_master") if self.name == "FlinkRunner" else None
        return endpoint or (None if master in ("[local]", "[auto]") else master)

    @property
    def is_here(self) -> bool:
        """Whether workers see the files of this machine."""
        if self.name == "FnApiRunner":
            return True
        if self.name == "DataflowRunner" or self.environment == "DOCKER":
            return False
        hosts = [address.rpartition(":")[0] for address in (self.address,) if address]
        if self.environment == "EXTERNAL":
            hosts.append(_host(flag_value(self.flags, "--environment_config") or ""))
        return all(host.removeprefix("http://") in LOCAL_HOSTS for host in hosts)

    def check(self, job: EmbedJob, *, dry_run: bool = False) -> None:
        """Check that the engine is there and can see what the job names.

        Raises:
          UsageError: if it is not, or its workers cannot.
        """
        if job.running.workers > 1:
            raise UsageError(
                "--workers is for a run on this machine; with --runner, the runner has its own"
                " options for how many workers it takes"
            )
        if job.single_writer:
            raise UsageError(
                "--single-writer cannot be used with --runner: an engine has several workers"
                " that write, so it needs a store with atomic creation (a disk, s3:// or gs://)"
            )
        if not job.running.wait and (dry_run or self.environment == "LOOPBACK" or self.starts_here):
            raise UsageError(
                f"--no-wait cannot be used with {'--dry-run' if dry_run else self.name} here:"
                " the workers end with this command; use it with a job server and workers of"
                " their own (--job_endpoint, --environment_type=EXTERNAL), or with Dataflow"
            )
        if STDIN in job.inputs:
            raise UsageError(
                f"standard input (-) cannot be read by the workers of {self.name}; write it to a"
                " file that they see"
            )
        for pattern in job.inputs:
            self._check_url("the input", pattern)
        if "/" in job.model.model or os.path.exists(job.model.model):
            self._check_url("the model", job.model.model)
        self.check_there(job.corpus)

    def check_stream(self, job: StreamJob) -> None:
        """Check that the engine is there, streams, and can see what a stream names.

        Raises:
          UsageError: if it is not, does not, or its workers cannot.
        """
        if self.name in ("FnApiRunner", "PortableRunner"):
            raise UsageError(
                f"{self.name} reads a source to its end before it does anything else, and a stream"
                " has no end; name PrismRunner or DataflowRunner, or stream without --runner"
            )
        if job.single_writer:
            raise UsageError(
                "--single-writer cannot be used with --runner: an engine has several workers"
                " that write, so it needs a store with atomic creation (a disk, s3:// or gs://)"
            )
        if not job.running.wait and (self.environment == "LOOPBACK" or self.starts_here):
            raise UsageError(
                f"--no-wait cannot be used with {self.name} here: the workers end with this"
                " command; use it with Dataflow, or with a job server and workers of their own"
                " (--job_endpoint, --environment_type=EXTERNAL)"
            )
        kind, _, pattern = job.source.partition(":")
        if kind == "watch":
            self._check_url("the source", pattern)
        if job.kafka_config is not None:
            self._check_url("--kafka-config", job.kafka_config)
        if "/" in job.model.model or os.path.exists(job.model.model):
            self._check_url("the model", job.model.model)
        self.check_there(job.corpus)

    @property
    def starts_here(self) -> bool:
        """Whether the engine itself is started by this command."""
        return self.name == "FnApiRunner" or (
            self.address is None and self.name != "DataflowRunner"
        )

    def _check_url(self, what: str, url: str) -> None:
        protocol = url.partition("://")[0] if "://" in url else ""
        if protocol == "memory":
            raise UsageError(
                f"{what} {url} is in the memory of this process, which the workers of {self.name}"
                " do not see; use a path or URL that they do"
            )
        if self.name == "DataflowRunner" and (not protocol or protocol in LOCAL_PROTOCOLS):
            raise UsageError(
                f"{what} {url} is a path of this machine, which Dataflow's workers do not see; use"
                " a URL such as gs://BUCKET/..."
            )
        if not protocol and not self.is_here:
            raise UsageError(
                f"{what} {url} is a path of this machine, which the workers of {self.name} do not"
                " see; use a URL such as gs://BUCKET/... or s3://BUCKET/..., or, if all of them"
                f" mount it, file://{os.path.abspath(url)}"
            )

    def check_there(self, corpus: str) -> None:
        """Check that the engine answers and that its workers can see a corpus.

        Raises:
          UsageError: if it does not, or they cannot.
        """
        self._check_url("the corpus", corpus)
        {
            "FnApiRunner": lambda: None,
            "PrismRunner": self._check_prism,
            "PortableRunner": self._check_job_server,
            "FlinkRunner": self._check_flink,
            "DataflowRunner": self._check_dataflow,
        }[self.name]()
        if self.environment == "EXTERNAL":
            config = flag_value(self.flags, "--environment_config")
            if not config:
                raise UsageError(
                    "--environment_type=EXTERNAL needs --environment_config=HOST:PORT, the address"
                    " of a worker pool: python -m apache_beam.runners.worker.worker_pool_main"
                    " --service_port PORT"
                )
            if self.is_here:
                _check_serves(config, "worker pool", "start one with: python -m apache_beam"
                               ".runners.worker.worker_pool_main --service_port PORT")  # fmt: skip

    def _check_prism(self) -> None:
        if self.address:
            _check_serves(self.address, "Prism", "start it with: prism --job_port PORT")
            return
        path = flag_value(self.flags, "--prism_location")
        build = (
            "build it with: GOBIN=DIR go install"
            " github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0"
        )
        if not path:
            raise UsageError(
                f"PrismRunner needs --prism_location=PATH, the program prism ({build}), or"
                " --job_endpoint=HOST:PORT of one that runs; nothing is downloaded"
            )
        if not os.access(path, os.X_OK) or os.path.isdir(path):
            raise UsageError(f"--prism_location is {path}, which is not a program; {build}")

    def _check_job_server(self) -> None:
        if not self.address:
            raise UsageError(
                "PortableRunner needs --job_endpoint=HOST:PORT, the address of a Beam job server"
            )
        _check_serves(
            self.address,
            "job server",
            "start one with: python -m apache_beam.runners.portability.local_job_service_main"
            " --port PORT",
        )

    def _check_flink(self) -> None:
        jar = flag_value(self.flags, "--flink_job_server_jar")
        if flag_value(self.flags, "--job_endpoint"):
            _check_serves(str(self.address), "job server", "start Beam's Flink job server")
            return
        if not jar:
            raise UsageError(
                "FlinkRunner needs --flink_job_server_jar=PATH, Beam's Flink job server"
                " (beam-runners-flink-1.20-job-server), or --job_endpoint=HOST:PORT of one that"
                " runs; nothing is downloaded"
            )
        if "://" not in jar and not os.path.isfile(jar):
            raise UsageError(
                f"--flink_job_server_jar is {jar}, which does not exist; check the path"
            )
        if not shutil.which("java"):
            raise UsageError(
                "FlinkRunner starts its job server with java, which is not on PATH; install"
                " a Java runtime (17 or 11)"
            )
        if self.address:
            _check_answers(self.address, "Flink", "start a cluster, or correct --flink_master")

    def _check_dataflow(self) -> None:
        try:
            import apache_beam.runners.dataflow.internal.apiclient  # noqa: F401
        except ImportError as error:
            raise UsageError(
                f"DataflowRunner needs Beam's Google Cloud packages ({error}); install them with:"
                " pip install 'apache-beam[gcp]'"
            ) from error
        missing = [
            name
            for name in ("--project", "--region", "--temp_location")
            if not flag_value(self.flags, name)
        ]
        if missing:
            raise UsageError(
                f"DataflowRunner needs {', '.join(missing)}; as in --project=P --region=R"
                " --temp_location=gs://BUCKET/tmp"
            )

    @contextlib.contextmanager
    def start(self) -> Iterator[list[str]]:
        """Start what the engine needs on this machine; yields Beam's flags; ends it afterwards.

        Raises:
          RuntimeError: if it does not start.
        """
        flags = list(self.flags)
        if self.environment == "LOOPBACK":
            quieten_workers()
        if self.name != "DataflowRunner" and not flag_value(flags, "--job_server_timeout"):
            # Of whole streams of messages, so of the job: after 5 minutes Beam would give it up.
            flags.append(f"--job_server_timeout={LONGEST_JOB_SECONDS}")
        if self.name == "PrismRunner" and not self.address:
            path = str(flag_value(self.flags, "--prism_location"))
            with prism(path) as address:
                yield [*_without(flags, "--prism_location"), f"--job_endpoint={address}"]
            return
        yield flags


def choose_engine(beam_args: Sequence[str]) -> Engine | None:
    """Return the engine that the flags name; None for a job of this very process.

    Raises:
      UsageError: if the runner is unknown, or refused.
    """
    named = flag_value(beam_args, "--runner")
    workers = flag_value(beam_args, "--direct_num_workers")
    if named is None or (named == LOCAL_RUNNER and workers in (None, "1")):
        return None
    name = named.rpartition(".")[2]
    name = name if name.endswith("Runner") else f"{name}Runner"
    if name in REFUSED:
        raise UsageError(f"--runner {named} is not offered: {REFUSED[name]}")
    if name not in OFFERED:
        raise UsageError(f"--runner is {named!r}, expected one of {', '.join(OFFERED)}")
    flags = [*_without(beam_args, "--runner"), f"--runner={name}"]
    engine = Engine(name, tuple(flags))
    if engine.environment == "LOOPBACK" and not flag_value(flags, "--environment_type"):
        flags.append("--environment_type=LOOPBACK")
    return Engine(name, tuple(flags))


def absolute(path: str) -> str:
    """Return a path as a worker with another working directory needs it; URLs stay."""
    return path if "://" in path else os.path.abspath(path)


@contextlib.contextmanager
def prism(path: str) -> Iterator[str]:
    """Run Prism for as long as the `with` lasts, and never longer than this process.

    Yields:
      HOST:PORT of its job server.

    Raises:
      RuntimeError: if it does not start.
    """
    port = _free_port()
    process = subprocess.Popen(
        [path, f"--job_port={port}", "--serve_http=false", "--log_level=error"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,  # an interrupt from the keyboard is this process's to handle
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers("localhost", port):
            if process.poll() is not None:
                raise RuntimeError(
                    f"Prism ({path}) ended with status {process.returncode} instead of starting; is"
                    " it the prism of Beam 2.77 for this system?"
                )
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"Prism ({path}) did not start in {START_SECONDS:.0f} s; run it alone to"
                    " see what it says, or try again on a less busy machine"
                )
            time.sleep(0.05)
        yield f"localhost:{port}"
    finally:
        process.kill()
        process.wait()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _check_answers(address: str, what: str, remedy: str) -> None:
    host, _, port = address.removeprefix("http://").rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(f"{address!r} is not an address of a {what}; expected HOST:PORT")
    if not _answers(host, int(port), CONNECT_SECONDS):
        raise UsageError(f"no {what} answers at {address}; {remedy}, or correct the address")


def _check_serves(address: str, what: str, remedy: str) -> None:
    """Check that it is gRPC that answers; anything else would be waited for without end."""
    _check_answers(address, what, remedy)
    import grpc  # type: ignore[import-untyped]  # it publishes no types

    with grpc.insecure_channel(address.removeprefix("http://")) as channel:
        try:
            grpc.channel_ready_future(channel).result(CONNECT_SECONDS)
        except grpc.FutureTimeoutError as error:
            raise UsageError(
                f"the server at {address} is not a {what}: it does not speak gRPC; {remedy}, or"
                " correct the address"
            ) from error


def _answers(host: str, port: int, timeout: float = 1.0) -> bool:
    try:
        socket.create_connection((host.strip("[]"), port), timeout).close()
    except OSError:
        return False
    return True


def _host(address: str) -> str:
    return address.removeprefix("http://").rpartition(":")[0]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return int(listener.getsockname()[1])


def _without(flags: Sequence[str], name: str) -> list[str]:
    return [flag for flag in flags if flag.partition("=")[0] != name]
