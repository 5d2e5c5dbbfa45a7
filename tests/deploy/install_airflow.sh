#!/usr/bin/env bash
# Make an environment with Airflow (1 minute, 450 MB). Usage: install_airflow.sh FOLDER PYTHON
set -euo pipefail
folder=$1
python=$2
if [ ! -x "${folder}/bin/airflow" ]; then
    "${python}" -m venv "${folder}"
    "${folder}/bin/python" -m pip install --quiet --upgrade pip==25.3
    "${folder}/bin/pip" install --quiet apache-airflow-core==3.3.2 \
        apache-airflow-providers-standard apache-airflow-providers-cncf-kubernetes==10.25.0
fi
