"""Submit a pipeline of two steps to Dataflow without sending it; prints what would be sent.

Run by the tests with the Python that has Beam's Google Cloud part; the arguments are Beam's flags.
"""

import json
import sys

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, WorkerOptions


def main(flags: list[str]) -> None:
    """Print the images of the job's environments, and the options of its workers."""
    options = PipelineOptions([*flags, "--dry_run=True", "--no_auth"])
    pipeline = beam.Pipeline(options=options)
    _ = pipeline | beam.Create([1]) | beam.Map(str)
    job = pipeline.run().job
    environments = job.proto_pipeline.components.environments.values()
    payloads = [environment.payload.decode("latin-1") for environment in environments]
    worker, cloud = options.view_as(WorkerOptions), options.view_as(GoogleCloudOptions)
    print(
        "SENT"
        + json.dumps(
            {
                "images": payloads,
                "machine": worker.machine_type,
                "workers": worker.max_num_workers,
                "public": worker.use_public_ips,
                "subnetwork": worker.subnetwork,
                "service": cloud.dataflow_service_options,
                "account": cloud.service_account_email,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:])
