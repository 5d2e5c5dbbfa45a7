"""Dataflow: the template by Google's own types, its entry file, the scripts by a dry run."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = "deploy/dataflow/template.json"
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


def test_the_template_fits_its_type(type_faults: Callable[[str, str], str], copy: Path) -> None:
    assert type_faults("TemplateMetadata", (copy / TEMPLATE).read_text()) == ""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"helpText"', '"helptext"', "helptext"),
        ('"paramType": "TEXT"', '"paramType": "TEXTS"', "TEXTS"),
        ('"isOptional": true', '"isOptional": "perhaps"', "isOptional"),
        ('"regexes": ["^(embed|index)$"]', '"regexes": {"a": "b"}', "regexes"),
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
    break_file(TEMPLATE, old, new)
    assert words in type_faults("TemplateMetadata", (copy / TEMPLATE).read_text())


L4 = "worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver"


@pytest.mark.parametrize(
    ("name", "value", "fits"),
    [
        ("step", "index", True),
        ("step", "train", False),
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
    parameters = json.loads((ROOT / TEMPLATE).read_text())["parameters"]
    [patterns] = [p["regexes"] for p in parameters if p["name"] == name]
    assert all(re.search(pattern, value) for pattern in patterns) == fits


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
    assert entry.command(["--step=index", "--corpus=gs://b/c"])[0] == "index"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--step=train"], "parameter step is 'train'; expected embed or index"),
        (["--step=embed", "--corpus=gs://b/c"], "parameter input is ''; embed takes files, globs"),
        (["--step=index", "--input=gs://b/a"], "parameter input is 'gs://b/a'; index takes none"),
    ],
)
def test_a_wrong_parameter_is_named(entry: ModuleType, given: list[str], words: str) -> None:
    with pytest.raises(SystemExit, match=re.escape(words)):
        entry.command(given)


def test_the_entry_file_ends_with_the_status_of_sensegrep(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "deploy/dataflow/flex_entry.py", "--step=x"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "parameter step is 'x'; expected embed or index" in done.stderr


def test_every_parameter_of_the_template_is_a_flag(entry: ModuleType) -> None:
    from pipelines.__main__ import build_parser
    from pipelines.embed.jobs.beam_flags import check_flags

    parameters = json.loads((ROOT / TEMPLATE).read_text())["parameters"]
    given = [f"--{p['name']}=x" for p in parameters if p["name"] not in ("step", "input")]
    # Values that the parser holds against a list.
    chosen = {"tokens": "all"}
    given = [f"--{n}={chosen.get(n, 'x')}" for n in (flag[2:-2] for flag in given)]
    words = [w for w in entry.command(["--input=gs://b/a", *given]) if w != "--no-wait"]
    _, rest = build_parser("embed").parse_known_args(words)
    assert check_flags(rest) == ["--sdk_container_image=x", "--dataflow_service_options=x"]
