"""A worker's error in one line, out of the tracebacks a runner hands on."""

import pytest

from pipelines.embed.jobs.errors import engine_error, worker_error
from pipelines.errors import CorpusError, UsageError

TRACEBACK = """\
Traceback (most recent call last):
  File "worker.py", line 5, in process
    raise ValueError("cannot do that")
ValueError: cannot do that

During handling of the above exception, another exception occurred:

{last} [while running 'EmbedSentences'] [while running 'Outer/Inner']
"""


@pytest.mark.parametrize(
    ("last", "kind", "message"),
    [
        ("RuntimeError: the model is broken", RuntimeError, "the model is broken"),
        ("pipelines.errors.CorpusError: 2 of the same", CorpusError, "2 of the same"),
        ("pipelines.errors.UsageError: no such flag", UsageError, "no such flag"),
        ("OSError: [Errno 28] No space left", RuntimeError, "[Errno 28] No space left"),
    ],
)
def test_last_error_of_a_traceback_is_told(last: str, kind: type[Exception], message: str) -> None:
    for text in (TRACEBACK.format(last=last), TRACEBACK.format(last=last).replace("\n", "\\n")):
        found = worker_error(RuntimeError(text))
        assert type(found) is kind
        assert str(found) == message


@pytest.mark.parametrize("last", ["KeyboardInterrupt", "KeyboardInterrupt: "])
def test_an_interrupt_stays_an_interrupt(last: str) -> None:
    assert type(worker_error(RuntimeError(TRACEBACK.format(last=last)))) is KeyboardInterrupt
    found = engine_error(RuntimeError(f"{last} [while running 'Embed']"), "PrismRunner")
    assert type(found) is KeyboardInterrupt


def test_error_of_this_process_keeps_its_kind_and_its_words() -> None:
    found = worker_error(CorpusError("documents are missing [while running 'Commit']"))
    assert type(found) is CorpusError
    assert str(found) == "documents are missing"
    assert str(worker_error(ValueError())) == "ValueError()"


@pytest.mark.parametrize(
    "said",
    [
        "Pipeline job-001 failed in state FAILED: bundle inst021 stage-034 failed:SDK worker"
        " disconnected: worker[job-001], 2 active instructions, error: context canceled",
        "Channel closed prematurely.",
    ],
)
def test_worker_that_went_away_is_told_with_what_to_do(said: str) -> None:
    found = str(engine_error(RuntimeError(said), "PrismRunner"))
    assert found.startswith("a worker of PrismRunner ended before its work was done")
    assert found.endswith("what was committed before is safe: run the command again")
    assert str(engine_error(RuntimeError("RuntimeError: it is full"), "Prism")) == "it is full"
