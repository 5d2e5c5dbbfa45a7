"""Print the Dataflow job of an embedding job as JSON; nothing is submitted (a dry run).

Usage: python dataflow_graph.py INPUT CORPUS MODEL [BEAM FLAG ...]
"""

import json
import sys

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from google.protobuf.json_format import MessageToDict

from pipelines.embed.jobs.bounded import build, check_inputs, plan_job
from pipelines.embed.jobs.job import EmbedJob
from pipelines.embed.options import ModelOptions


def main(source: str, corpus: str, model: str, flags: list[str]) -> None:
    job = EmbedJob(inputs=[source], corpus=corpus, model=ModelOptions(model=model))
    plan, _ = plan_job(job, check_inputs(job))
    pipeline = beam.Pipeline(options=PipelineOptions(flags))
    build(pipeline, plan)
    submitted = pipeline.run().job
    proto = submitted.proto_pipeline
    print(
        json.dumps(
            {
                "bytes": len(proto.SerializeToString()),
                "transforms": MessageToDict(proto.components)["transforms"],
                "environments": [
                    {
                        "image": beam.portability.api.beam_runner_api_pb2.DockerPayload.FromString(
                            environment.payload
                        ).container_image,
                        "hints": {
                            key: value.decode() for key, value in environment.resource_hints.items()
                        },
                    }
                    for environment in proto.components.environments.values()
                ],
                "options": submitted.options.get_all_options(),
            },
            default=str,
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:4], sys.argv[4:])
