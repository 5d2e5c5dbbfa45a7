"""The images that `make check-deploy-image` built, at work as the targets run them: as user 1000,
without capabilities, on a read-only root with a /tmp of its own.

DEPLOY_IMAGE names the folder that tests/deploy/build_image.sh built into.
"""

import json
import os
import socket
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("DEPLOY_IMAGE", ROOT / ".deploy/image"))
SECONDS = 300
# Where the kernel's first version of control groups is mounted beside the second, crun stumbles.
APART = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
         'umount /sys/fs/cgroup/unified 2>/dev/null; exec podman "$@"', "podman"]  # fmt: skip
AS_DEPLOYED = ("--pull=never", "--network=host", "--read-only", "--tmpfs=/tmp", "--cap-drop=all",
               "--security-opt=no-new-privileges")  # fmt: skip

pytestmark = pytest.mark.skipif(
    "DEPLOY_IMAGE" not in os.environ, reason="needs the images of `make check-deploy-image`"
)
Command = Callable[..., list[str]]
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def podman() -> dict[str, str]:
    """The environment in which podman finds the images."""
    return {
        **os.environ,
        "CONTAINERS_STORAGE_CONF": str(FOLDER / "storage.conf"),
        "CONTAINERS_CONF": str(FOLDER / "containers.conf"),
    }


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder that user 1000 may write, with documents in it; in the containers at one path."""
    folder = tmp_path / "data"
    folder.mkdir()
    lines = [
        {"id": "river", "text": "They sat on the bank of the river and fished."},
        {"id": "money", "text": "The bank lent them the money for a house."},
        {"id": "plant", "text": "The plant made cars until it was closed."},
    ]
    (folder / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    os.chown(folder, 1000, 1000)
    for parent in folder.parents:  # pytest's own folders are root's alone
        if parent.name.startswith("pytest-"):
            parent.chmod(0o755)
    tmp_path.chmod(0o755)
    return folder


@pytest.fixture
def command(data: Path) -> Command:
    """A function that says how podman runs a program of an image."""

    def words(
        target: str, *arguments: str, entry: str = "", env: Mapping[str, str] = {}, name: str = ""
    ) -> list[str]:
        named = ["--name", name] if name else []
        program = ["--entrypoint", entry] if entry else []
        variables = [f"--env={key}={value}" for key, value in env.items()]
        image = f"localhost/sensegrep-{target}:check"
        mount = f"--volume={data}:{data}"
        return [*APART, "run", "--rm", *AS_DEPLOYED, mount, *named, *program, *variables, image,
                *arguments]  # fmt: skip

    return words


@pytest.fixture
def run(command: Command, podman: Mapping[str, str]) -> Run:
    """A function that runs a program of an image; returns its exit status and what it said."""

    def finished(target: str, *arguments: str, **options: object) -> tuple[int, str]:
        done = subprocess.run(
            command(target, *arguments, **options),
            env=podman,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return done.returncode, done.stdout

    return finished


@pytest.fixture
def start(command: Command, podman: Mapping[str, str], tmp_path: Path) -> Iterator[Callable]:
    """A function that starts a program of an image and returns its log; it ends with the test."""
    names: list[str] = []
    processes: list[subprocess.Popen[bytes]] = []

    def started(target: str, *arguments: str, **options: object) -> Path:
        names.append(f"check-{uuid.uuid4().hex[:8]}")
        log = tmp_path / f"{names[-1]}.log"
        with log.open("wb") as file:
            words = command(target, *arguments, name=names[-1], **options)
            processes.append(subprocess.Popen(words, env=podman, stdout=file, stderr=file))
        return log

    yield started
    for name in names:
        subprocess.run([*APART, "stop", "--time=5", name], env=podman, check=False,
                       capture_output=True)  # fmt: skip
    for process in processes:
        process.wait(timeout=60)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def until(holds: Callable[[], bool]) -> bool:
    for _ in range(2 * SECONDS):
        if holds():
            return True
        time.sleep(0.5)
    return False


def nightly(data: Path) -> dict[str, str]:
    return {"SENSEGREP_INPUT": f"{data}/*.jsonl", "SENSEGREP_CORPUS": f"{data}/corpus",
            "SENSEGREP_MODEL": "/opt/sensegrep/model"}  # fmt: skip


@pytest.mark.parametrize("target", ["worker", "serve"])
def test_a_scheduled_run_and_a_search_in_the_image(run: Run, data: Path, target: str) -> None:
    status, said = run(target, entry="/opt/sensegrep/bin/nightly.sh", env=nightly(data))
    assert status == 0, said
    assert "embedded 3 of 3 documents" in said
    query = "They sat on the [bank] of the river"
    search = ("search", f"--corpus={data}/corpus", "--k=3", "--json", query)
    status, said = run(target, *search, entry="sensegrep")
    assert status == 0, said
    hits = json.loads(said[said.index("{") :])["hits"]
    assert {hit["doc_id"] for hit in hits} == {"river", "money"}
    assert (data / "corpus" / "snapshots").stat().st_uid == 1000


@pytest.mark.parametrize("target", ["worker", "serve", "flex"])
def test_an_image_runs_as_a_user_without_rights_on_a_read_only_root(run: Run, target: str) -> None:
    status, said = run(target, "-c", "id -u; touch /tmp/mine && touch /opt/mine", entry="/bin/sh")
    assert status != 0
    assert said.startswith("1000\n")
    assert "Read-only file system" in said


def test_the_serve_image_serves(run: Run, start: Callable, data: Path) -> None:
    assert run("serve", entry="/opt/sensegrep/bin/nightly.sh", env=nightly(data))[0] == 0
    port = free_port()
    env = {"SENSEGREP_CORPUS": f"{data}/corpus", "SENSEGREP_PORT": str(port)}
    log = start("serve", env=env)
    address = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        try:
            return urllib.request.urlopen(f"{address}/readyz", timeout=5).status == 200
        except OSError:
            return False

    assert until(ready), log.read_text()
    with urllib.request.urlopen(f"{address}/v1/search?q=the+%5Bbank%5D&k=2", timeout=60) as answer:
        assert {hit["doc_id"] for hit in json.load(answer)["hits"]} == {"river", "money"}


@pytest.fixture
def through_the_pool(run: Run, start: Callable, data: Path) -> Callable[[str], tuple[int, str]]:
    """A function that submits a job from the image to containers of it that are its workers."""
    service = free_port()
    pool = start("worker", "--worker_pool")
    service_module = "apache_beam.runners.portability.local_job_service_main"
    start("worker", "-m", service_module, f"--port={service}", entry="python")

    def embed(program: str) -> tuple[int, str]:
        assert until(lambda: answers(service) and answers(50000)), pool.read_text()
        status, said = run(
            "worker",
            *("-c", program, "embed", f"{data}/in.jsonl", f"--corpus={data}/corpus"),
            *("--runner=PortableRunner", f"--job_endpoint=localhost:{service}"),
            *("--environment_type=EXTERNAL", "--environment_config=localhost:50000"),
            entry="python",
        )
        return status, said + pool.read_text()

    return embed


MAIN = "import sys; from pipelines.__main__ import main; sys.exit(main(sys.argv[1:]))"
ANOTHER_VERSION = f"import pipelines.corpus.manifests as m; m.written_by = lambda: '9.9'; {MAIN}"


def test_the_worker_image_is_a_pool_of_workers(
    through_the_pool: Callable, run: Run, data: Path
) -> None:
    status, said = through_the_pool(MAIN)
    assert status == 0, said
    assert "embedded 3 of 3 documents" in said
    assert run("worker", "-c", "echo $OMP_NUM_THREADS", entry="/bin/sh") == (0, "1\n")
    assert len(list((data / "corpus/segments").glob("*/segment.json"))) == 1


def test_an_image_of_another_version_than_the_submitting_machine_is_told(
    through_the_pool: Callable, data: Path
) -> None:
    status, said = through_the_pool(ANOTHER_VERSION)
    assert status == 1
    assert "give workers the same version, in their image" in said
    assert not list((data / "corpus").glob("snapshots/*"))


@pytest.mark.parametrize(
    ("changed", "status", "words"),
    [
        ({"SENSEGREP_INPUT": ""}, 2, "SENSEGREP_INPUT: is not set; expected files, globs or URLs"),
        (
            {"SENSEGREP_DEVICE": "cuda"},
            1,
            "device 'cuda' was not found: this machine has 0 CUDA devices",
        ),
        ({"SENSEGREP_MODEL": "/opt/nowhere"}, 1, "no model at /opt/nowhere: there is no such"),
        ({"SENSEGREP_CORPUS": "/opt/corpus"}, 1, "/opt/corpus"),
    ],
)
def test_bad_input_is_told_at_the_start(
    run: Run, data: Path, changed: dict[str, str], status: int, words: str
) -> None:
    env = nightly(data) | changed
    found, said = run("serve", entry="/opt/sensegrep/bin/nightly.sh", env=env)
    assert found == status, said
    assert words in said
    assert "Traceback" not in said


def test_the_flex_image_gives_its_parameters_to_the_command(run: Run) -> None:
    given = ("--input=gs://b/*.jsonl", "--corpus=gs://b/corpus", "--project=project-1")
    status, said = run("flex", *given)
    assert status == 2
    assert "DataflowRunner needs --region, --temp_location" in said
    assert run("flex", "--corpus=gs://b/corpus")[1].startswith("parameter input is empty")
