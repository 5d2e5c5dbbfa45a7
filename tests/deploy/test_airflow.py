"""The DAG: read by Airflow for each target, and one run of it for real on a local corpus.

Opt-in: `make check-deploy-airflow` installs Airflow and runs this. Google's provider is not
installed; what the DAG asks of Dataflow is held against Google's own types.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pipelines.corpus.view import CorpusView

ROOT = Path(__file__).resolve().parents[2]
READ = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(dag_folder=sys.argv[1])
dags = {name: {"tasks": [t.task_id for t in dag.tasks], "schedule": dag.schedule,
               "catchup": dag.catchup, "active": dag.max_active_runs}
        for name, dag in bag.dags.items()}
print("READ" + json.dumps({"errors": list(bag.import_errors.values()), "dags": dags}))
"""
# Google's provider stands in for a moment: what it is given is what is wanted.
BODIES = """
import json, sys, types
bodies = []
class Operator:
    def __init__(self, **given):
        bodies.append(given["body"])
    def __rshift__(self, other):
        print("THEN", other.task_id)
module = types.ModuleType("airflow.providers.google.cloud.operators.dataflow")
module.DataflowStartFlexTemplateOperator = Operator
for name in ("google", "google.cloud", "google.cloud.operators"):
    sys.modules["airflow.providers." + name] = types.ModuleType(name)
sys.modules[module.__name__] = module
exec(compile(open(sys.argv[1]).read(), sys.argv[1], "exec"), {"__name__": "dag"})
print("READ" + json.dumps(bodies))
"""
Airflow = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    """A function that runs a program of Airflow's environment, with a database of its own."""
    folder = os.environ.get("DEPLOY_AIRFLOW")
    if not folder:
        pytest.skip("needs Airflow, which `make check-deploy-airflow` installs")
    home = tmp_path_factory.mktemp("airflow")
    (home / "dags").mkdir()
    (home / "dags" / "sensegrep_dag.py").write_bytes(
        (ROOT / "deploy/airflow/sensegrep_dag.py").read_bytes()
    )

    def run(program: str, *words: str, env: Mapping[str, str]) -> tuple[int, str]:
        fixed = {"PATH": os.environ["PATH"], "AIRFLOW_HOME": str(home), "HOME": str(home),
                 "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}  # fmt: skip
        done = subprocess.run(
            [Path(folder) / "bin" / program, *words],
            cwd=home,
            env={**fixed, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        return done.returncode, done.stdout

    status, text = run("airflow", "db", "migrate", env={})
    assert status == 0, text
    return run


def read(airflow: Airflow, program: str, *words: str, env: Mapping[str, str]) -> object:
    status, text = airflow("python", "-c", program, *words, env=env)
    [line] = [line for line in text.splitlines() if line.startswith("READ")] or [text]
    assert status == 0, text
    return json.loads(line.removeprefix("READ"))


@pytest.mark.parametrize("target", ["kubernetes", "local"])
def test_airflow_reads_the_dag(airflow: Airflow, example: Mapping[str, str], target: str) -> None:
    env = {**example, "SENSEGREP_AIRFLOW_TARGET": target}
    assert read(airflow, READ, "dags", env=env) == {
        "errors": [],
        "dags": {"sensegrep": {"tasks": ["run", "verify"], "schedule": "17 2 * * *",
                               "catchup": False, "active": 1}},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"SENSEGREP_CORPUS": ""}, "SENSEGREP_CORPUS is not set; expected a path or URL"),
        ({"SENSEGREP_IMAGE": ""}, "SENSEGREP_IMAGE is not set; expected an image of target serve"),
        ({"SENSEGREP_AIRFLOW_TARGET": "slurm"}, "is 'slurm', expected one of kubernetes, dataflow"),
        ({"SENSEGREP_SCHEDULE": "nightly"}, "Exactly 5, 6 or 7 columns"),
    ],
)
def test_airflow_names_what_is_missing_or_wrong(
    airflow: Airflow, example: Mapping[str, str], changed: Mapping[str, str], words: str
) -> None:
    found = read(airflow, READ, "dags", env={**example, **changed})
    assert isinstance(found, dict)
    assert len(found["errors"]) == 1
    assert words in found["errors"][0]


def test_airflow_refuses_a_broken_twin(
    airflow: Airflow, example: Mapping[str, str], copy: Path
) -> None:
    path = copy / "deploy/airflow/sensegrep_dag.py"
    path.write_text(path.read_text().replace("service_account_name", "service_account_named"))
    found = read(airflow, READ, str(path), env=example)
    assert isinstance(found, dict)
    assert "service_account_named" in found["errors"][0]


def test_what_is_asked_of_dataflow_fits_its_type(
    airflow: Airflow, example: Mapping[str, str], tools: Path
) -> None:
    if not (tools / "gcp/bin/python").exists():
        pytest.skip("needs Google's types, which `make check-deploy` installs")
    env = {**example, "SENSEGREP_AIRFLOW_TARGET": "dataflow"}
    path = str(ROOT / "deploy/airflow/sensegrep_dag.py")
    bodies = read(airflow, BODIES, path, env=env)
    assert isinstance(bodies, list)
    [body] = bodies
    declared = json.loads((ROOT / "deploy/dataflow/template.json").read_text())["parameters"]
    names = {parameter["name"] for parameter in declared}
    assert body["launchParameter"]["parameters"].keys() <= names
    check = (
        "import sys; from google.cloud import dataflow_v1beta3 as t;"
        " t.LaunchFlexTemplateParameter.from_json(sys.stdin.read(), ignore_unknown_fields=False)"
    )

    def fits(parameter: object) -> bool:
        return not subprocess.run(
            [tools / "gcp/bin/python", "-c", check],
            input=json.dumps(parameter),
            text=True,
            capture_output=True,
            check=False,
        ).returncode

    assert fits(body["launchParameter"])
    assert not fits({**body["launchParameter"], "jobname": "x"})


def test_a_run_of_the_dag_embeds_indexes_and_verifies(
    airflow: Airflow, example: Mapping[str, str], tmp_path: Path, tiny_elmo_dir: Path
) -> None:
    home = tmp_path / "home"
    for name in ("bin", "venv/bin"):
        (home / name).mkdir(parents=True)
    (home / "bin/nightly.sh").symlink_to(ROOT / "deploy/nightly.sh")
    program = home / "venv/bin/sensegrep"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m pipelines "$@"\n')
    program.chmod(0o755)
    lines = [json.dumps({"id": str(n), "text": f"The bank, {n}."}) for n in range(8)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
    corpus = tmp_path / "corpus"
    env = {
        **example,
        "SENSEGREP_AIRFLOW_TARGET": "local",
        "SENSEGREP_HOME": str(home),
        "SENSEGREP_INPUT": str(tmp_path / "in.jsonl"),
        "SENSEGREP_CORPUS": str(corpus),
        "SENSEGREP_MODEL": str(tiny_elmo_dir),
        "PYTHONPATH": str(ROOT),
    }
    status, text = airflow("airflow", "dags", "test", "sensegrep", "2026-11-26", env=env)
    assert status == 0, text
    assert "state:success" in text or "state=success" in text
    view = CorpusView.open(str(corpus))
    assert view.live_counts()["documents"] == 8
    assert view.snapshot.index is not None
    assert "all well" in text

    # A corpus that is damaged where a run reads nothing: `verify` fails.
    [part] = corpus.glob("segments/*/tokens/*.parquet")
    part.write_bytes(part.read_bytes()[:-9] + b"123456789")
    status, text = airflow("airflow", "dags", "test", "sensegrep", "2026-11-27", env=env)
    assert "state=failed" in text or "state:failed" in text
