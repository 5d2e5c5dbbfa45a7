#!/bin/sh
# One scheduled run: embed what is new, index, merge small segments, remove old files.
# Variables: deploy/sensegrep.env.example. Used by compose, systemd, Kubernetes and Airflow.
#
# -f: the globs in SENSEGREP_INPUT are sensegrep's to expand, not the shell's.
set -euf
: "${SENSEGREP_INPUT:?is not set; expected files, globs or URLs: set it in sensegrep.env}"
: "${SENSEGREP_CORPUS:?is not set; expected a path or URL: set it in sensegrep.env}"
# shellcheck disable=SC2086 # INPUT and FLAGS are lists, separated by spaces
exec sensegrep run ${SENSEGREP_INPUT} \
    --corpus "${SENSEGREP_CORPUS}" \
    --model "${SENSEGREP_MODEL:-en-small}" \
    --device "${SENSEGREP_DEVICE:-auto}" \
    --max-memory "${SENSEGREP_MAX_MEMORY:-2G}" \
    --compact-over "${SENSEGREP_COMPACT_OVER:-20}" \
    --vacuum-older-than "${SENSEGREP_VACUUM_OLDER_THAN:-7d}" \
    "${SENSEGREP_ON_REJECTS:---no-fail-on-rejects}" \
    ${SENSEGREP_FLAGS:-} "$@"
