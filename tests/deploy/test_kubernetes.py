"""Kubernetes and Flink: rendered, held against the schemas, and against rules of our own."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

Document = dict[str, Any]
Render = Callable[[str], list[Document]]
Break = Callable[[str, str, str], None]
Run = Callable[..., tuple[int, str]]
CPU, GPU, FLINK = "kubernetes/overlays/cpu", "kubernetes/overlays/gpu", "flink"
STREAM = "kubernetes/overlays/stream"
TARGETS = (CPU, GPU, STREAM, FLINK)
CRON_FIELD = r"(\*|\d+(-\d+)?)(/\d+)?(,(\*|\d+(-\d+)?)(/\d+)?)*"


@pytest.fixture
def schema_faults(run_tool: Run, tools: Path) -> Callable[[list[Document]], str]:
    """A function that holds documents against the schemas of their kinds."""

    def check(documents: list[Document]) -> str:
        jar = next((tools / "jars").glob("flink-kubernetes-operator-api-*.jar"), None)
        if jar is None or not (tools / "lint/bin/python").exists():
            pytest.skip("needs the schemas that `make check-deploy` installs")
        script = Path(__file__).with_name("kubernetes_schema.py")
        status, text = run_tool("python", script, jar, input=yaml.safe_dump_all(documents))
        assert status == 0, text
        return text

    return check


def pods(document: Document) -> Iterator[Document]:
    """Yield the specifications of the pods that a document makes."""
    spec = document.get("spec", {})
    if document["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    if document["kind"] in ("CronJob", "Job", "Deployment"):
        yield spec["template"]["spec"]
    if document["kind"] == "FlinkDeployment":
        yield spec["podTemplate"]["spec"]
        yield spec["taskManager"]["podTemplate"]["spec"]


def containers(pod: Document) -> list[Document]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def size(quantity: str) -> float:
    """Return a quantity of Kubernetes as a number."""
    found = re.fullmatch(r"([\d.]+)(m|Ki|Mi|Gi|Ti)?", str(quantity))
    assert found, quantity
    units = {None: 1, "m": 1e-3, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
    return float(found[1]) * units[found[2]]


def container_faults(container: Document, variables: Mapping[str, str]) -> Iterator[str]:
    """Yield what a schema cannot know of a container."""
    # The operator fills in what Flink's own container lacks: image, memory.
    flink = container["name"] == "flink-main-container"
    security = container.get("securityContext", {})
    if not flink:
        limits = container.get("resources", {}).get("limits", {})
        requests = container.get("resources", {}).get("requests", {})
        if "memory" not in limits:
            yield "no memory limit"
        yield from (
            f"requests more {name} than its limit"
            for name in requests.keys() & limits.keys()
            if size(requests[name]) > size(limits[name])
        )
        if not re.fullmatch(r"\S+:[\w.-]+", container["image"]) or ":latest" in container["image"]:
            yield f"image {container['image']} has no version"
        if not security.get("readOnlyRootFilesystem"):
            yield "its root file system can be written"
        mounts = {mount["mountPath"] for mount in container.get("volumeMounts", [])}
        if "/tmp" not in mounts:
            yield "no writable /tmp"
        if security.get("allowPrivilegeEscalation") is not False:
            yield "allows privilege escalation"
        if security.get("capabilities") != {"drop": ["ALL"]}:
            yield "keeps capabilities"
    ports = {port["name"] for port in container.get("ports", [])}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        action = container.get(probe, {})
        port = (action.get("httpGet") or action.get("tcpSocket") or {}).get("port")
        if isinstance(port, str) and port not in ports:
            yield f"{probe} asks port {port}, which it does not have"
    words = " ".join([*container.get("command", []), *container.get("args", [])])
    own = {entry["name"] for entry in container.get("env", [])}
    named = set(re.findall(r"\$[({](SENSEGREP_\w+)", words))
    yield from (f"{name} is in no ConfigMap" for name in sorted(named - own - variables.keys()))


def document_faults(document: Document, everything: list[Document]) -> Iterator[str]:
    """Yield what a schema cannot know of a document."""
    spec = document.get("spec", {})
    if document["kind"] == "CronJob":
        fields = spec["schedule"].split()
        if len(fields) != 5 or not all(re.fullmatch(CRON_FIELD, field) for field in fields):
            yield f"schedule {spec['schedule']!r} is not five fields of cron"
        if spec.get("concurrencyPolicy") != "Forbid":
            yield "two runs may stand side by side"
        if "timeZone" not in spec:
            yield "no time zone"
    labels = [
        d["spec"]["template"]["metadata"]["labels"] for d in everything if d["kind"] == "Deployment"
    ]
    selector = spec.get("selector", {})
    wanted = selector if document["kind"] == "Service" else selector.get("matchLabels", {})
    if document["kind"] in ("Service", "PodDisruptionBudget") and not any(
        wanted.items() <= has.items() for has in labels
    ):
        yield "its selector matches no Deployment"
    if document["kind"] not in ("Namespace",) and "namespace" not in document["metadata"]:
        yield "no namespace"


def faults(documents: list[Document]) -> list[str]:
    """Return what is wrong by our own rules, each with where."""
    [variables] = [d["data"] for d in documents if d["kind"] == "ConfigMap"]
    found = []
    for document in documents:
        where = f"{document['kind']} {document['metadata']['name']}"
        found += [f"{where}: {fault}" for fault in document_faults(document, documents)]
        for pod in pods(document):
            if document["kind"] != "FlinkDeployment" or "enableServiceLinks" in pod:
                if pod.get("enableServiceLinks") is not False:
                    found.append(f"{where}: a Service's name becomes SENSEGREP_ variables")
                if not pod.get("securityContext", {}).get("runAsNonRoot"):
                    found.append(f"{where}: may run as root")
            for container in containers(pod):
                found += [
                    f"{where}, {container['name']}: {fault}"
                    for fault in container_faults(container, variables)
                ]
    return found


def container(documents: list[Document], kind: str, name: str) -> Document:
    [found] = [
        c for d in documents if d["kind"] == kind for p in pods(d) for c in containers(p)
        if c["name"] == name
    ]  # fmt: skip
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_rendered_fits_schemas_and_rules(
    render: Render, schema_faults: Callable[[list[Document]], str], target: str
) -> None:
    documents = render(target)
    assert len(documents) >= 5
    assert schema_faults(documents) == ""
    assert faults(documents) == []


def test_variables_reach_what_they_are_for(render: Render, break_file: Break) -> None:
    break_file("deploy/sensegrep.env", "SENSEGREP_SCHEDULE=17 2", "SENSEGREP_SCHEDULE=5 4")
    break_file("deploy/sensegrep.env", "/sensegrep:0.2.0", "/mine:2")
    break_file("deploy/sensegrep.env", "/sensegrep-worker:0.2.0", "/my-worker:2")
    break_file("deploy/sensegrep.env", "TASK_MANAGERS=2", "TASK_MANAGERS=7")
    cpu, flink = render(CPU), render(FLINK)
    [cron] = [d for d in cpu if d["kind"] == "CronJob"]
    assert cron["spec"]["schedule"] == "5 4 * * *"
    assert container(cpu, "CronJob", "run")["image"] == "registry.example.com/mine:2"
    assert container(cpu, "Deployment", "serve")["image"] == "registry.example.com/mine:2"
    [cluster] = [d for d in flink if d["kind"] == "FlinkDeployment"]
    assert cluster["spec"]["taskManager"]["replicas"] == 7
    for kind, name in (("FlinkDeployment", "worker"), ("Job", "submit")):
        assert container(flink, kind, name)["image"] == "registry.example.com/my-worker:2"


def test_the_stream_overlay_has_one_stream_and_no_scheduled_runs(render: Render) -> None:
    documents = render(STREAM)
    assert [d for d in documents if d["kind"] == "CronJob"] == []
    [stream] = [d for d in documents if d["metadata"]["name"] == "sensegrep-stream"]
    assert (stream["spec"]["replicas"], stream["spec"]["strategy"]) == (1, {"type": "Recreate"})
    assert container(documents, "Deployment", "stream")["image"].endswith("/sensegrep:0.2.0")


def test_the_gpu_overlay_asks_for_a_gpu_twice(render: Render) -> None:
    run = container(render(GPU), "CronJob", "run")
    assert run["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {"name": "SENSEGREP_DEVICE", "value": "cuda"} in run["env"]


def test_a_gpu_patch_that_matches_nothing_is_refused(render: Render, break_file: Break) -> None:
    patch = "deploy/kubernetes/overlays/gpu/cronjob-gpu.yaml"
    break_file(patch, "name: sensegrep-run", "name: sensegrep-ran")
    with pytest.raises(AssertionError, match="no matches for Id CronJob"):
        render(GPU)


@pytest.mark.parametrize(
    ("target", "name", "old", "new", "words"),
    [
        (CPU, "kubernetes/base/cronjob.yaml", "concurrencyPolicy:", "concurencyPolicy:",
         "concurencyPolicy"),
        (CPU, "kubernetes/base/cronjob.yaml", "backoffLimit: 3", "backoffLimit: three", "three"),
        (CPU, "kubernetes/base/cronjob.yaml", "apiVersion: batch/v1", "apiVersion: batch/v9",
         "SchemaNotFoundError"),
        (CPU, "kubernetes/serve/deployment.yaml", "containerPort: 8000", "containerport: 8000",
         "'containerPort' is a required property"),
        (CPU, "kubernetes/serve/service.yaml", "targetPort: http", "targetport: http",
         "targetport"),
        (FLINK, "flink/flinkdeployment.yaml", "flinkVersion: v1_20", "flinkVersion: v9", "v9"),
        (FLINK, "flink/flinkdeployment.yaml", "tcpSocket:", "tcpsocket:", "tcpsocket"),
        (FLINK, "flink/flinkdeployment.yaml", "jobManager:", "jobmanager:", "jobmanager"),
        (FLINK, "flink/submit.yaml", "restartPolicy: Never", "restartPolicies: Never",
         "restartPolicies"),
    ],
)  # fmt: skip
def test_schemas_refuse_a_broken_twin(
    render: Render,
    schema_faults: Callable[[list[Document]], str],
    break_file: Break,
    target: str,
    name: str,
    old: str,
    new: str,
    words: str,
) -> None:
    break_file(f"deploy/{name}", old, new)
    assert words in schema_faults(render(target))


@pytest.mark.parametrize(
    ("target", "name", "old", "new", "words"),
    [
        (CPU, "kubernetes/base/cronjob.yaml", "Policy: Forbid", "Policy: Allow",
         "two runs may stand side by side"),
        (CPU, "sensegrep.env", "SENSEGREP_SCHEDULE=17 2 * * *", "SENSEGREP_SCHEDULE=nightly",
         "schedule 'nightly' is not five fields of cron"),
        (CPU, "sensegrep.env", "/sensegrep:0.2.0", "/sensegrep", "has no version"),
        (CPU, "sensegrep.env", "/sensegrep:0.2.0", "/sensegrep:latest", "has no version"),
        (CPU, "kubernetes/base/cronjob.yaml", "memory: 4Gi", "memory: 40Gi",
         "requests more memory than its limit"),
        (CPU, "kubernetes/base/cronjob.yaml", "memory: 6Gi", "cpu: 6", "no memory limit"),
        (CPU, "kubernetes/base/cronjob.yaml", "runAsNonRoot: true", "runAsNonRoot: false",
         "may run as root"),
        (CPU, "kubernetes/serve/deployment.yaml", "enableServiceLinks: false",
         "enableServiceLinks: true", "a Service's name becomes SENSEGREP_ variables"),
        (CPU, "kubernetes/serve/deployment.yaml", "$(SENSEGREP_CORPUS)", "$(SENSEGREP_CORPSE)",
         "SENSEGREP_CORPSE is in no ConfigMap"),
        (CPU, "kubernetes/serve/deployment.yaml", "port: http", "port: web",
         "asks port web, which it does not have"),
        (CPU, "kubernetes/serve/deployment.yaml", "drop: [ALL]", "drop: [SYS_ADMIN]",
         "keeps capabilities"),
        (CPU, "kubernetes/serve/deployment.yaml", "readOnlyRootFilesystem: true",
         "readOnlyRootFilesystem: false", "its root file system can be written"),
        (CPU, "kubernetes/serve/service.yaml", "    app.kubernetes.io/component: serve\n  ports",
         "    app.kubernetes.io/component: server\n  ports", "its selector matches no Deployment"),
        (FLINK, "flink/submit.yaml", "${SENSEGREP_CORPUS:?", "${SENSEGREP_CORPSE:?",
         "SENSEGREP_CORPSE is in no ConfigMap"),
        (FLINK, "flink/flinkdeployment.yaml", "port: worker-pool", "port: pool",
         "asks port pool, which it does not have"),
    ],
)  # fmt: skip
def test_our_rules_refuse_a_broken_twin(
    render: Render,
    break_file: Break,
    target: str,
    name: str,
    old: str,
    new: str,
    words: str,
) -> None:
    break_file(f"deploy/{name}", old, new)
    assert any(words in fault for fault in faults(render(target)))


def test_a_variable_that_an_image_needs_must_be_there(render: Render, break_file: Break) -> None:
    break_file("deploy/sensegrep.env", "SENSEGREP_IMAGE=", "SENSEGREP_IMAJE=")
    with pytest.raises(AssertionError, match="SENSEGREP_IMAGE"):
        render(CPU)


def test_the_shell_of_the_submitting_job_is_sound(render: Render, run_tool: Run) -> None:
    [script] = container(render(FLINK), "Job", "submit")["args"]
    assert run_tool("shellcheck", "--shell=sh", "-", input=script) == (0, "")
