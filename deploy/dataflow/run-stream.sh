#!/bin/sh
# A stream on Dataflow: submits one streaming job and leaves. Variables: sensegrep.env.example.
#
#   deploy/with-env.sh deploy/sensegrep.env deploy/dataflow/run-stream.sh
#
# Nothing merges segments or builds an index beside such a job: run them on a schedule. Started
# again, the stream takes over from the job before, which then ends. See deploy/README.md.
set -euf
: "${SENSEGREP_SOURCE:?is not set; expected kafka:, pubsub: or watch:gs://...: set it in sensegrep.env}"
: "${SENSEGREP_CORPUS:?is not set; expected a gs:// URL: set it in sensegrep.env}"
: "${SENSEGREP_PROJECT:?is not set; expected a Google Cloud project: set it in sensegrep.env}"
: "${SENSEGREP_REGION:?is not set; expected a region such as europe-west4: set it in sensegrep.env}"
: "${SENSEGREP_TEMP_LOCATION:?is not set; expected a gs:// URL: set it in sensegrep.env}"
: "${SENSEGREP_WORKER_IMAGE:?is not set; expected an image of target worker: set it in sensegrep.env}"
# shellcheck disable=SC2086 # FLAGS are a list, separated by spaces
exec sensegrep stream "${SENSEGREP_SOURCE}" \
    --corpus "${SENSEGREP_CORPUS}" \
    --model "${SENSEGREP_MODEL:-en-small}" \
    --device cpu \
    --no-wait \
    --runner DataflowRunner \
    --project="${SENSEGREP_PROJECT}" \
    --region="${SENSEGREP_REGION}" \
    --temp_location="${SENSEGREP_TEMP_LOCATION}" \
    --job_name="${SENSEGREP_STREAM_JOB_NAME:-sensegrep-stream}" \
    --sdk_container_image="${SENSEGREP_WORKER_IMAGE}" \
    --sdk_location=container \
    --worker_machine_type="${SENSEGREP_CPU_MACHINE:-n2-standard-8}" \
    --enable_streaming_engine \
    --autoscaling_algorithm=THROUGHPUT_BASED \
    --max_num_workers="${SENSEGREP_STREAM_MAX_WORKERS:-4}" \
    --disk_size_gb=50 \
    --no_use_public_ips \
    ${SENSEGREP_SUBNETWORK:+--subnetwork="${SENSEGREP_SUBNETWORK}"} \
    ${SENSEGREP_SERVICE_ACCOUNT:+--service_account_email="${SENSEGREP_SERVICE_ACCOUNT}"} \
    ${SENSEGREP_DATAFLOW_STREAM_FLAGS:-} "$@"
