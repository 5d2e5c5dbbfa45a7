"""Print the Dataflow job of an embedding job or a stream as JSON; nothing is submitted (a dry run).

Usage: python dataflow_graph.py INPUT-OR-SOURCE CORPUS MODEL [BEAM FLAG ...]
"""

import json
import sys

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from google.protobuf.json_format import MessageToDict

from pipelines.corpus.view import CorpusView
from pipelines.embed.inference import describe_model
from pipelines.embed.jobs import unbounded
from pipelines.embed.jobs.bounded import build, check_inputs, plan_job
from pipelines.embed.jobs.job import EmbedJob
from pipelines.embed.jobs.stream_job import StreamJob
from pipelines.embed.jobs.unbounded import UnboundedPlan
from pipelines.embed.options import ModelOptions
from pipelines.embed.recipe import make_recipe


def add_stream(pipeline: beam.Pipeline, source: str, corpus: str, model: str) -> None:
    job = StreamJob(source=source, corpus=corpus, model=ModelOptions(model=model))
    tokenizer = job.embedding.make_tokenizer()
    plan = UnboundedPlan(
        job=job,
        store=CorpusView.open_or_create(corpus).store,
        job_id="job",
        epoch=1,
        recipe=make_recipe(describe_model(job.model), job.model, job.embedding, tokenizer),
        tokenizer=tokenizer,
    )
    unbounded.build(pipeline, plan)


def main(source: str, corpus: str, model: str, flags: list[str]) -> None:
    pipeline = beam.Pipeline(options=PipelineOptions(flags))
    if source.startswith("watch:"):
        add_stream(pipeline, source, corpus, model)
    else:
        job = EmbedJob(inputs=[source], corpus=corpus, model=ModelOptions(model=model))
        plan, _ = plan_job(job, check_inputs(job))
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
