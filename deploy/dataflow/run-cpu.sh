#!/bin/sh
# Embed on Dataflow's CPU workers: submits one job and returns. Variables: sensegrep.env.example.
#
#   deploy/with-env.sh deploy/sensegrep.env deploy/dataflow/run-cpu.sh
#
# More flags may follow, as --dry-run. Index afterwards: see deploy/README.md.
set -euf
: "${SENSEGREP_INPUT:?is not set; expected gs:// URLs: set it in sensegrep.env}"
: "${SENSEGREP_CORPUS:?is not set; expected a gs:// URL: set it in sensegrep.env}"
: "${SENSEGREP_PROJECT:?is not set; expected a Google Cloud project: set it in sensegrep.env}"
: "${SENSEGREP_REGION:?is not set; expected a region such as europe-west4: set it in sensegrep.env}"
: "${SENSEGREP_TEMP_LOCATION:?is not set; expected a gs:// URL: set it in sensegrep.env}"
: "${SENSEGREP_WORKER_IMAGE:?is not set; expected an image of target worker: set it in sensegrep.env}"
# shellcheck disable=SC2086 # INPUT and FLAGS are lists, separated by spaces
exec sensegrep embed ${SENSEGREP_INPUT} \
    --corpus "${SENSEGREP_CORPUS}" \
    --model "${SENSEGREP_MODEL:-en-small}" \
    --device cpu \
    --no-wait \
    --runner DataflowRunner \
    --project="${SENSEGREP_PROJECT}" \
    --region="${SENSEGREP_REGION}" \
    --temp_location="${SENSEGREP_TEMP_LOCATION}" \
    --job_name="${SENSEGREP_JOB_NAME:-sensegrep-embed}" \
    --sdk_container_image="${SENSEGREP_WORKER_IMAGE}" \
    --sdk_location=container \
    --worker_machine_type="${SENSEGREP_CPU_MACHINE:-n2-standard-8}" \
    --autoscaling_algorithm=THROUGHPUT_BASED \
    --max_num_workers="${SENSEGREP_MAX_WORKERS:-50}" \
    --disk_size_gb=50 \
    --no_use_public_ips \
    ${SENSEGREP_SUBNETWORK:+--subnetwork="${SENSEGREP_SUBNETWORK}"} \
    ${SENSEGREP_SERVICE_ACCOUNT:+--service_account_email="${SENSEGREP_SERVICE_ACCOUNT}"} \
    ${SENSEGREP_FLAGS:-} "$@"
