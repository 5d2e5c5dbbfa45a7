#!/usr/bin/env bash
# Install the wheel of DIST into an empty environment in DIR, and run the demo with it, away from the
# checkout. Usage: tests/release.sh DIST DIR PYTHON
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
wheel=$(cd "$1" && ls "$PWD"/*.whl)
python=$3
mkdir -p "$2"
cd "$2"
# Nothing of the checkout may be found: only what the wheel brings.
unset PYTHONPATH
"$python" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --constraint "$checkout/constraints.txt" "$wheel"

version=$(venv/bin/sensegrep --version)
[[ $wheel == *"sensegrep-${version#sensegrep }-"* ]] || { echo "release: $version is not the version of $wheel" >&2; exit 1; }
venv/bin/python -c '
import sys, pipelines, elmo_infer, schemas
for package in (pipelines, elmo_infer, schemas):
    assert package.__file__.startswith(sys.prefix), f"{package.__file__} is not from the wheel"
'
venv/bin/python "$checkout/tests/ambiguous.py" articles.jsonl
venv/bin/sensegrep run articles.jsonl --corpus corpus
venv/bin/sensegrep search --corpus corpus --k 6 'They sat on the [bank] of the river' | tee lines
rivers=$(head -n 6 lines | grep -c 'bank/river')
[[ $rivers == 6 ]] || { echo "release: $rivers of the first 6 lines have the sense of the query; expected 6" >&2; exit 1; }
venv/bin/sensegrep verify --corpus corpus
echo "release: $version works from its wheel"
