"""Dataflow: the template by Google's own types, its entry file, the scripts by a dry run."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = "deploy/dataflow/template.json"
STREAM_TEMPLATE = "deploy/dataflow/stream-template.json"
# What Beam says of a flag that it does not know.
DROPPED = re.compile("Discarding|Unparseable")
Run = Callable[..., tuple[int, str]]
Break = Callable[[str, str, str], None]
TYPES = """
import json, sys
from google.cloud import dataflow_v1beta3 as types
text = sys.stdin.read()
kind = getattr(types, sys.argv[1])
try:
    kind.from_json(text, ignore_unknown_fields=False)
except Exception as error:
    print(error)
"""


@pytest.fixture(scope="session")
def type_faults(tools: Path) -> Callable[[str, str], str]:
    """A function that reads JSON as one of Google's types and returns what does not fit."""
    python = tools / "gcp/bin/python"
    if not python.exists():
        pytest.skip("needs Google's types, which `make check-deploy` installs")

    def check(kind: str, text: str) -> str:
        return subprocess.run(
            [python, "-c", TYPES, kind], input=text, capture_output=True, text=True, check=True
        ).stdout

    return check


@pytest.fixture(scope="session")
def entry() -> ModuleType:
    """The template's entry file, as a module."""
    spec = util.spec_from_file_location("flex_entry", ROOT / "deploy/dataflow/flex_entry.py")
    assert spec
    assert spec.loader
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("template", [TEMPLATE, STREAM_TEMPLATE])
def test_a_template_fits_its_type(
    template: str, type_faults: Callable[[str, str], str], copy: Path
) -> None:
    assert type_faults("TemplateMetadata", (copy / template).read_text()) == ""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"helpText"', '"helptext"', "helptext"),
        ('"paramType": "TEXT"', '"paramType": "TEXTS"', "TEXTS"),
        ('"isOptional": true', '"isOptional": "perhaps"', "isOptional"),
        ('"description"', '"descriptions"', "descriptions"),
        ('"streaming": true', '"streamed": true', "streamed"),
    ],
)
def test_google_s_type_refuses_a_broken_twin(
    type_faults: Callable[[str, str], str],
    copy: Path,
    break_file: Break,
    old: str,
    new: str,
    words: str,
) -> None:
    break_file(STREAM_TEMPLATE, old, new)
    assert words in type_faults("TemplateMetadata", (copy / STREAM_TEMPLATE).read_text())


L4 = "worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver"


@pytest.mark.parametrize(
    ("name", "value", "fits"),
    [
        ("input", "gs://b/a/*.jsonl gs://b/c.parquet", True),
        ("input", "/home/me/a.jsonl", False),
        ("corpus", "gs://b/corpus", True),
        ("corpus", "gs://b/my corpus", False),
        ("device", "cuda", True),
        ("device", "gpu", False),
        ("dtype", "float64", False),
        ("tokens", "some", False),
        ("model", "en-small", True),
        ("dataflow_service_options", L4, True),
        ("dataflow_service_options", L4.replace("accelerator", "accelerators"), False),
        ("dataflow_service_options", L4.replace("count:1", "count:one"), False),
    ],
)
def test_patterns_take_what_is_right_and_refuse_what_is_not(
    name: str, value: str, fits: bool
) -> None:
    assert fits_pattern(TEMPLATE, name, value) == fits


@pytest.mark.parametrize(
    ("name", "value", "fits"),
    [
        ("source", "kafka:a:9092,b:9092/articles", True),
        ("source", "pubsub:projects/p/subscriptions/s", True),
        ("source", "watch:gs://b/in/*.jsonl", True),
        ("source", "watch:/home/me/*.jsonl", False),
        ("source", "kafka:a:9092", False),
        ("source", "pubsub:s", False),
        ("kafka-config", "gs://b/kafka.properties", True),
        ("kafka-config", "/etc/kafka.properties", False),
        ("every", "60s", True),
        ("every", "60", False),
    ],
)
def test_patterns_of_the_stream_s_template(name: str, value: str, fits: bool) -> None:
    assert fits_pattern(STREAM_TEMPLATE, name, value) == fits


def fits_pattern(template: str, name: str, value: str) -> bool:
    """Say whether a template takes a value for a parameter."""
    parameters = json.loads((ROOT / template).read_text())["parameters"]
    [patterns] = [p["regexes"] for p in parameters if p["name"] == name]
    return all(re.search(pattern, value) for pattern in patterns)


def test_parameters_become_a_command(entry: ModuleType) -> None:
    given = [
        "--input=gs://b/a.jsonl gs://b/c.jsonl",
        "--corpus=gs://b/corpus",
        "--model=",
        "--device=cuda",
        "--runner=DataflowRunner",
        "--no_use_public_ips",
    ]
    assert entry.command(given) == [
        "embed",
        "gs://b/a.jsonl",
        "gs://b/c.jsonl",
        "--no-wait",
        "--corpus=gs://b/corpus",
        "--device=cuda",
        "--runner=DataflowRunner",
        "--no_use_public_ips",
    ]


def test_a_source_becomes_a_stream_that_is_not_waited_for(entry: ModuleType) -> None:
    given = ["--source=kafka:a:9092/t", "--corpus=gs://b/corpus", "--every=5m", "--streaming"]
    assert entry.command(given) == [
        "stream",
        "kafka:a:9092/t",
        "--no-wait",
        "--corpus=gs://b/corpus",
        "--every=5m",
        "--runner=DataflowRunner",
        "--streaming",
    ]


def test_the_runner_is_dataflow_where_the_launcher_names_none(entry: ModuleType) -> None:
    assert entry.command(["--input=gs://b/a"])[-1] == "--runner=DataflowRunner"


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "deploy/dataflow/flex_entry.py", "--input=", "--corpus=gs://b/c"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "parameter input is empty; expected gs:// URLs, separated by spaces" in done.stderr
    assert "or, for a stream, parameter source" in done.stderr


@pytest.mark.parametrize(
    ("template", "first", "to_beam"),
    [
        (
            TEMPLATE,
            "--input=gs://b/a",
            ["--sdk_container_image=x", "--dataflow_service_options=x"],
        ),
        (STREAM_TEMPLATE, "--source=watch:gs://b/*", ["--sdk_container_image=x"]),
    ],
)
def test_every_parameter_of_a_template_is_a_flag(
    entry: ModuleType, template: str, first: str, to_beam: list[str]
) -> None:
    from pipelines.__main__ import build_parser
    from pipelines.embed.jobs.beam_flags import check_flags

    parameters = json.loads((ROOT / template).read_text())["parameters"]
    given = [f"--{p['name']}=x" for p in parameters if f"--{p['name']}" != first.split("=")[0]]
    # Values that the parser holds against a list.
    chosen = {"tokens": "all", "device": "cuda", "dtype": "auto"}
    given = [f"--{n}={chosen.get(n, 'x')}" for n in (flag[2:-2] for flag in given)]
    words = entry.command([first, *given])
    args, rest = build_parser(words[0]).parse_known_args(words)
    named = [f"--runner={args.runner}"] if args.runner else []
    assert check_flags([*rest, *named]) == to_beam + ["--runner=DataflowRunner"] * bool(named)


@pytest.fixture
def sent(
    tools: Path, spoken: Callable[..., list[str]], example: Mapping[str, str]
) -> Callable[..., tuple[dict[str, Any], str]]:
    """A function that gives a script's flags for Beam to a dry run; returns what would be sent."""
    python = tools / "gcp/bin/python"
    if not python.exists():
        pytest.skip("needs Beam's Google Cloud part, which `make check-deploy` installs")

    def run(script: str, *more: str, **changed: str) -> tuple[dict[str, Any], str]:
        words = spoken("sh", ROOT / "deploy/dataflow" / script, env={**example, **changed})
        flags = words[words.index("--runner") :]
        done = subprocess.run(
            [python, Path(__file__).with_name("dataflow_dry_run.py"), *flags, *more],
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        [line] = [line for line in done.stdout.splitlines() if line.startswith("SENT")]
        return json.loads(line.removeprefix("SENT")), done.stderr

    return run


def test_a_dry_run_on_cpus_discards_no_flag(sent: Callable[..., Any]) -> None:
    job, said = sent("run-cpu.sh", SENSEGREP_SUBNETWORK="regions/r/subnetworks/s")
    assert not DROPPED.search(said)
    assert len(job["images"]) == 1
    assert "registry.example.com/sensegrep-worker:0.2.0" in job["images"][0]
    assert (job["machine"], job["workers"], job["public"]) == ("n2-standard-8", 50, False)
    assert job["subnetwork"] == "regions/r/subnetworks/s"
    assert not job["service"]
    assert not job["account"]


def test_a_dry_run_on_gpus_asks_for_one_on_each_worker(sent: Callable[..., Any]) -> None:
    job, said = sent("run-gpu.sh")
    assert not DROPPED.search(said)
    assert (job["machine"], job["workers"]) == ("g2-standard-8", 4)
    assert job["service"] == [L4]


def test_a_dry_run_of_a_stream_discards_no_flag(sent: Callable[..., Any]) -> None:
    # Without flags of sensegrep's own, which Beam does not know.
    job, said = sent("run-stream.sh", "--streaming", SENSEGREP_DATAFLOW_STREAM_FLAGS="")
    assert not DROPPED.search(said)
    assert "registry.example.com/sensegrep-worker:0.2.0" in job["images"][0]
    assert (job["machine"], job["workers"], job["public"]) == ("n2-standard-8", 4, False)


def test_a_flag_that_beam_would_drop_is_seen(sent: Callable[..., Any]) -> None:
    _, said = sent("run-cpu.sh", "--max_numb_workers=3")
    assert DROPPED.search(said)
    assert "--max_numb_workers=3" in said
