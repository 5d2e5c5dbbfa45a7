#!/bin/sh
# Embed on Dataflow with one GPU per worker: submits one job and returns. Variables:
# sensegrep.env.example. The machine that submits needs no GPU.
#
#   deploy/with-env.sh deploy/sensegrep.env deploy/dataflow/run-gpu.sh
#
# One process per worker (no_use_multiple_sdk_containers), since each would hold a model of its own
# on the one GPU; its threads read and tokenize beside the model.
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
    --device cuda \
    --dtype bfloat16 \
    --max-tokens-per-batch 32768 \
    --no-wait \
    --runner DataflowRunner \
    --project="${SENSEGREP_PROJECT}" \
    --region="${SENSEGREP_REGION}" \
    --temp_location="${SENSEGREP_TEMP_LOCATION}" \
    --job_name="${SENSEGREP_JOB_NAME:-sensegrep-embed}" \
    --sdk_container_image="${SENSEGREP_WORKER_IMAGE}" \
    --sdk_location=container \
    --worker_machine_type="${SENSEGREP_GPU_MACHINE:-g2-standard-8}" \
    --dataflow_service_options="worker_accelerator=type:${SENSEGREP_GPU_TYPE:-nvidia-l4};count:1;install-nvidia-driver" \
    --experiments=no_use_multiple_sdk_containers \
    --number_of_worker_harness_threads=4 \
    --autoscaling_algorithm=THROUGHPUT_BASED \
    --max_num_workers="${SENSEGREP_GPU_MAX_WORKERS:-4}" \
    --disk_size_gb=100 \
    --no_use_public_ips \
    ${SENSEGREP_SUBNETWORK:+--subnetwork="${SENSEGREP_SUBNETWORK}"} \
    ${SENSEGREP_SERVICE_ACCOUNT:+--service_account_email="${SENSEGREP_SERVICE_ACCOUNT}"} \
    ${SENSEGREP_FLAGS:-} "$@"
