"""Airflow DAG `sensegrep`: one scheduled run, on the target that SENSEGREP_AIRFLOW_TARGET names.

kubernetes  a pod that embeds, indexes, merges and cleans up; then a pod that verifies
dataflow    the flex template embeds; then the pods of kubernetes, which find nothing left to embed
local       the same as kubernetes on the worker itself, with sensegrep in SENSEGREP_HOME

Variables (deploy/sensegrep.env.example) come from the environment of Airflow. Copy this file into
the DAG folder as it is. A missing variable is an import error that names it.
"""

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, BaseOperator


def variable(name: str, expected: str = "", default: str = "") -> str:
    """Return a variable of the environment; empty is as good as absent.

    Raises:
      ValueError: if it is not set and has no default.
    """
    value = os.environ.get(name) or default
    if not value and expected:
        raise ValueError(f"{name} is not set; expected {expected}: set it in Airflow's environment")
    return value


def kubernetes(corpus: str) -> BaseOperator:
    """Add the tasks of the target kubernetes; returns the first."""
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
    from kubernetes.client import models

    passed = {name: value for name, value in os.environ.items() if name.startswith("SENSEGREP_")}
    shared: dict[str, Any] = {
        "image": variable("SENSEGREP_IMAGE", "an image of target serve"),
        "namespace": "sensegrep",
        "service_account_name": "sensegrep",
        "env_vars": passed,
        "container_resources": models.V1ResourceRequirements(
            requests={"cpu": "2", "memory": "4Gi"}, limits={"memory": "6Gi"}
        ),
        "security_context": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "fsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "container_security_context": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumes": [models.V1Volume(name="tmp", empty_dir=models.V1EmptyDirVolumeSource())],
        "volume_mounts": [models.V1VolumeMount(name="tmp", mount_path="/tmp")],
        "automount_service_account_token": False,
        "get_logs": True,
    }
    run = KubernetesPodOperator(
        task_id="run", name="sensegrep-run", cmds=["/opt/sensegrep/bin/nightly.sh"], **shared
    )
    verify = KubernetesPodOperator(
        task_id="verify",
        name="sensegrep-verify",
        cmds=["sensegrep", "verify", "--corpus", corpus],
        retries=0,
        **shared,
    )
    run >> verify
    return run


def dataflow(corpus: str) -> None:
    """Add the tasks of the target dataflow."""
    from airflow.providers.google.cloud.operators.dataflow import DataflowStartFlexTemplateOperator

    embed = DataflowStartFlexTemplateOperator(
        task_id="embed",
        project_id=variable("SENSEGREP_PROJECT", "a Google Cloud project"),
        location=variable("SENSEGREP_REGION", "a region such as europe-west4"),
        body=launch_body(corpus),
        wait_until_finished=True,
    )
    embed >> kubernetes(corpus)


def launch_body(corpus: str) -> dict[str, Any]:
    """Return what Dataflow is asked: a LaunchFlexTemplateRequest."""
    environment = {
        "tempLocation": variable("SENSEGREP_TEMP_LOCATION", "a gs:// URL"),
        "machineType": variable("SENSEGREP_CPU_MACHINE", default="n2-standard-8"),
        "maxWorkers": int(variable("SENSEGREP_MAX_WORKERS", default="50")),
        "ipConfiguration": "WORKER_IP_PRIVATE",
        "subnetwork": variable("SENSEGREP_SUBNETWORK"),
        "serviceAccountEmail": variable("SENSEGREP_SERVICE_ACCOUNT"),
    }
    return {
        "launchParameter": {
            "jobName": "sensegrep-embed-{{ ts_nodash | lower }}",
            "containerSpecGcsPath": variable("SENSEGREP_TEMPLATE", "a gs:// URL"),
            "parameters": {
                "input": variable("SENSEGREP_INPUT", "gs:// URLs, separated by spaces"),
                "corpus": corpus,
                "sdk_container_image": variable(
                    "SENSEGREP_WORKER_IMAGE", "an image of target worker"
                ),
            },
            "environment": {name: value for name, value in environment.items() if value},
        }
    }


def local(corpus: str) -> None:
    """Add the tasks of the target local."""
    from airflow.providers.standard.operators.bash import BashOperator

    home = variable("SENSEGREP_HOME", default="/opt/sensegrep")
    path = f"{home}/venv/bin:{os.environ.get('PATH', '')}"
    shared: dict[str, Any] = {"append_env": True, "env": {"PATH": path, "CORPUS": corpus}}
    # The blank keeps Airflow from taking the path for a template's file.
    run = BashOperator(task_id="run", bash_command=f"{home}/bin/nightly.sh ", **shared)
    verify = BashOperator(
        task_id="verify",
        bash_command='sensegrep verify --corpus "$CORPUS"',
        retries=0,
        **shared,
    )
    run >> verify


TARGETS = {"kubernetes": kubernetes, "dataflow": dataflow, "local": local}

with DAG(
    dag_id="sensegrep",
    description="Embed and index what is new",
    schedule=variable("SENSEGREP_SCHEDULE", default="17 2 * * *"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=22),
    default_args={"retries": 2, "retry_delay": timedelta(minutes=10)},
    tags=["sensegrep"],
) as dag:
    target = variable("SENSEGREP_AIRFLOW_TARGET", default="kubernetes")
    if target not in TARGETS:
        raise ValueError(
            f"SENSEGREP_AIRFLOW_TARGET is {target!r}, expected one of {', '.join(TARGETS)}"
        )
    TARGETS[target](variable("SENSEGREP_CORPUS", "a path or URL"))
