"""Kubernetes' own API server takes what deploy/ renders, under the restricted standard.

Opt-in: `make check-deploy-cluster` builds the server and runs this. Nothing is scheduled: there is
no kubelet. What is checked is all that a server checks before it stores an object.
"""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

Render = Callable[[str], list[dict[str, object]]]
Break = Callable[[str, str, str], None]
Apply = Callable[[str], tuple[int, str]]
CPU, GPU, FLINK = "kubernetes/overlays/cpu", "kubernetes/overlays/gpu", "flink"
# Operators of clusters ask for memory limits by such a policy; the server then refuses without.
POLICY = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: memory-limits}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
      - {apiGroups: [apps], apiVersions: [v1], operations: [CREATE], resources: [deployments]}
  validations:
    - expression: object.spec.template.spec.containers.all(c, has(c.resources) &&
        has(c.resources.limits) && 'memory' in c.resources.limits)
      message: every container needs a memory limit
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: memory-limits}
spec: {policyName: memory-limits, validationActions: [Deny]}
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., tuple[int, str]]]:
    """A function that runs kubectl against a real API server, which lives for this module."""
    folder = os.environ.get("DEPLOY_CLUSTER")
    if not folder or not shutil.which("etcd"):
        pytest.skip("needs an API server, which `make check-deploy-cluster` builds")
    home = tmp_path_factory.mktemp("cluster")
    store, peer, port = free_port(), free_port(), free_port()
    key = home / "key.pem"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    (home / "tokens.csv").write_text("secret,me,me,system:masters\n")
    server = f"https://127.0.0.1:{port}"
    commands = [
        ["etcd", f"--data-dir={home}/etcd", f"--listen-client-urls=http://127.0.0.1:{store}",
         f"--advertise-client-urls=http://127.0.0.1:{store}",
         f"--listen-peer-urls=http://127.0.0.1:{peer}"],
        [f"{folder}/kube-apiserver", f"--etcd-servers=http://127.0.0.1:{store}",
         f"--secure-port={port}", f"--cert-dir={home}/certs", "--bind-address=127.0.0.1",
         f"--service-account-issuer={server}", f"--service-account-key-file={key}",
         f"--service-account-signing-key-file={key}", f"--token-auth-file={home}/tokens.csv",
         "--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/24",
         # It makes the default accounts of namespaces, for which there is no controller here.
         "--disable-admission-plugins=ServiceAccount"],
    ]  # fmt: skip

    def run(*words: str | Path, text: str = "") -> tuple[int, str]:
        access = (f"--server={server}", "--token=secret", "--insecure-skip-tls-verify")
        done = subprocess.run(
            [f"{folder}/kubectl", *access, *words],
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout

    running = []
    try:
        for command in commands:
            with (home / f"{len(running)}.log").open("w") as log:
                running.append(subprocess.Popen(command, stdout=log, stderr=log))
        for _ in range(120):
            if run("get", "--raw=/readyz")[0] == 0:
                break
            time.sleep(1)
        else:
            pytest.fail((home / "1.log").read_text()[-3000:])
        yield run
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait(timeout=60)


@pytest.fixture
def apply(
    kubectl: Callable[..., tuple[int, str]], render: Render, tools: Path
) -> Callable[[str], tuple[int, str]]:
    """A function that hands a kustomization to the server, to judge and not to store."""
    namespace = (Path(__file__).parents[2] / "deploy/kubernetes/base/namespace.yaml").read_text()
    for text in (namespace, POLICY, flink_definition(tools)):
        status, said = kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", text=text)
        assert status == 0, said
    kubectl("wait", "--for=condition=Established", "crd/flinkdeployments.flink.apache.org")
    for _ in range(60):  # a policy takes a moment to be in force
        if "needs a memory limit" in kubectl(
            "create", "deployment", "probe", "--image=x:1", "--namespace=sensegrep",
            "--dry-run=server",
        )[1]:  # fmt: skip
            break
        time.sleep(0.5)

    def hand_over(target: str) -> tuple[int, str]:
        words = ("apply", "--dry-run=server", "--validate=strict", "--warnings-as-errors", "-f-")
        return kubectl(*words, text=yaml.safe_dump_all(render(target)))

    return hand_over


def flink_definition(tools: Path) -> str:
    """Return the definition of Flink's kind, as its operator installs it."""
    import zipfile

    [jar] = (tools / "jars").glob("flink-kubernetes-operator-api-*.jar")
    with zipfile.ZipFile(jar) as file:
        return file.read("META-INF/fabric8/flinkdeployments.flink.apache.org-v1.yml").decode()


@pytest.mark.parametrize("target", [CPU, GPU, FLINK])
def test_a_real_server_takes_what_is_rendered(apply: Apply, target: str) -> None:
    status, said = apply(target)
    assert status == 0, said
    assert len(re.findall(r"\(server dry run\)", said)) >= 5


@pytest.mark.parametrize(
    ("target", "name", "old", "new", "words"),
    [
        (CPU, "sensegrep.env", "SCHEDULE=17 2 * * *", "SCHEDULE=77 2 * * *", "above maximum"),
        (CPU, "kubernetes/base/cronjob.yaml", "timeZone: Etc/UTC", "timeZone: Etc/UTZ", "timeZone"),
        (CPU, "kubernetes/base/cronjob.yaml", "restartPolicy: Never", "restartPolicy: Often",
         "Unsupported value"),
        (CPU, "kubernetes/base/cronjob.yaml", "memory: 4Gi", "memory: 40Gi",
         "must be less than or equal to memory limit"),
        (CPU, "kubernetes/serve/deployment.yaml", "drop: [ALL]", "add: [SYS_ADMIN]",
         "violate PodSecurity"),
        (CPU, "kubernetes/serve/deployment.yaml", "memory: 6Gi", "cpu: 6",
         "every container needs a memory limit"),
        (CPU, "kubernetes/serve/deployment.yaml", "name: sensegrep-serve",
         "name: Sensegrep_serve", "RFC 1123"),
        (CPU, "kubernetes/serve/deployment.yaml", "maxSurge: 1", "maxSurge: 0",
         "may not be 0 when"),
        (GPU, "kubernetes/overlays/gpu/cronjob-gpu.yaml", 'nvidia.com/gpu: "1"',
         'nvidia.com/gpu: "0.5"', "must be an integer"),
        (FLINK, "flink/flinkdeployment.yaml", "flinkVersion: v1_20", "flinkVersion: v1",
         "Unsupported value"),
        (FLINK, "flink/flinkdeployment.yaml", "jobManager:", "jobmanager:", "unknown field"),
    ],
)  # fmt: skip
def test_a_real_server_refuses_a_broken_twin(
    apply: Apply, break_file: Break, target: str, name: str, old: str, new: str, words: str
) -> None:
    break_file(f"deploy/{name}", old, new)
    status, said = apply(target)
    assert status != 0
    assert words in said
