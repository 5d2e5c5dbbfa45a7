"""Tests mirror the code: a file a module, and none reaches into what a module keeps private."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
PACKAGES = ("schemas", "elmo_infer", "pipelines")

# Modules without a test file of their own, and what checks them instead.
WITHOUT = {
    "elmo_infer/arguments.py": "test_embedder: what embed and layers refuse",
    "elmo_infer/config.py": "test_loading: options that cannot be",
    "elmo_infer/formats/tensors.py": "test_official: tensors that cannot be",
    "elmo_infer/placement.py": "test_loading: devices and dtypes by name",
    "elmo_infer/recurrent_steps.py": "test_fused_steps: in Triton's interpreter",
    "elmo_infer/training/curve.py": "test_bilm reads the curve of a run",
    "elmo_infer/training/final_query.py": "test_bilm, test_teacher: the query a model ends with",
    "elmo_infer/training/epoch_progress.py": "test_nnlm, test_word2vec: what a run tells",
    "elmo_infer/training/model_card.py": "test_held_out, test_train: what a card says",
    "elmo_infer/training/network.py": "test_export: a step against its parts; test_training_device",
    "elmo_infer/initial_state.py": "test_states, test_loading: zero, warm, given, refused",
    "elmo_infer/results.py": "fields only; test_embedder",
    "elmo_infer/training/parameters.py": "test_growth, test_pretrain: new parameters",
    "elmo_infer/training/spelled_batch.py": "test_character_cnn: words of a batch",
    "elmo_infer/training/teaching.py": "test_teacher, test_held_out: runs with a teacher",
    "elmo_infer/transfers.py": "test_device: results that leave for the host",
    "pipelines/api.py": "test_view, test_searcher and test_service work through it",
    "pipelines/commands/embed_options.py": "commands/test_embed: its options",
    "pipelines/commands/embed_report.py": "commands/test_embed: its report",
    "pipelines/commands/evaluate_options.py": "commands/test_evaluate: its options",
    "pipelines/commands/bilm_options.py": "test_train: options of train elmo",
    "pipelines/commands/devices.py": "test_embed, test_search: values of --device",
    "pipelines/commands/delete.py": "test_delete runs the command",
    "pipelines/commands/output.py": "test_text_as_it_comes: what is printed",
    "pipelines/commands/train_mean.py": "test_train: the mean of models",
    "pipelines/commands/train_senses.py": "test_learning: what it is made of",
    "pipelines/commands/verify.py": "test_verify runs the command",
    "pipelines/commands/wording.py": "test_embed: a summary of one is in the singular",
    "pipelines/corpus/rebase.py": "test_histories: who gives way, and which version is which",
    "pipelines/corpus/segment_files.py": "test_survival: segments that failed",
    "pipelines/embed/batch.py": "types; test_token_batcher and test_batch_coder use them",
    "pipelines/embed/choose_documents.py": "test_choosing; tests/engines on real engines",
    "pipelines/embed/compatibility.py": "test_local: a corpus's rules and another job's",
    "pipelines/embed/inference.py": "test_survival: failing batches and sentences",
    "pipelines/embed/jobs/bounded.py": "tests/engines: the job on each engine",
    "pipelines/embed/jobs/job.py": "types; test_local makes jobs",
    "pipelines/embed/jobs/stream_launch.py": "tests/engines/test_stream: with kills, on Prism",
    "pipelines/embed/jobs/stream_reader.py": "tests/engines/test_stream: with kills, on Prism",
    "pipelines/embed/options.py": "test_local: bad usage",
    "pipelines/embed/part_writer.py": "test_transforms: parts as they are written",
    "pipelines/embed/planned_parts.py": "test_local: slices as parts",
    "pipelines/embed/segments.py": "test_transforms: segments as they are committed",
    "pipelines/errors.py": "two classes without code",
    "pipelines/evaluation/set_files.py": "test_readers: faulty files",
    "pipelines/index/format.py": "test_build, test_checks: manifests that cannot be read",
    "pipelines/index/measure_parts.py": "test_fit: samples; test_tokens: counted forms",
    "pipelines/index/sentences.py": "test_build: lines and documents against the tables",
    "pipelines/index/word_forms.py": "test_build, test_scripts: forms of tokens",
    "pipelines/reading/documents.py": "types; test_records reads them",
    "pipelines/reading/kafka_topic.py": "tests/kafka: with a real broker",
    "pipelines/reading/options.py": "types; test_records uses them",
    "pipelines/search/document_view.py": "test_search_routes: documents as the server shows them",
    "pipelines/search/hits.py": "test_searcher, test_kwic: hits as they are shown",
    "pipelines/search/options.py": "test_checks: options that mean nothing",
    "pipelines/search/query_encoder.py": "commands/test_search: queries through a real model",
    "pipelines/search/similarity.py": "senses/test_features: scores of occurrences by hand",
    "pipelines/senses/lines.py": "test_service, test_store: lines of a sense",
    "pipelines/senses/options.py": "types; test_service uses them",
    "pipelines/serving/app.py": "test_gate: the app behind its gate",
    "pipelines/serving/corpus_facts.py": "test_search_routes: what the corpus is",
    "pipelines/serving/metrics.py": "test_gate: what is counted",
    "pipelines/serving/operations.py": "test_server: health and readiness",
    "pipelines/serving/page_files.py": "test_server: files of the page",
    "pipelines/serving/parameters.py": "test_search_routes: parameters of a request",
    "pipelines/serving/problems.py": "test_gate: errors as problem details",
    "pipelines/serving/senses_cache.py": "test_search_routes: senses of a word",
    "pipelines/serving/settings.py": "test_server: settings",
    "pipelines/text/abbreviations.py": "words; test_sentence_splitter uses them",
    "pipelines/text/segmenters.py": "test_tokenizer: languages",
    "pipelines/text/sentences.py": "test_tokenizer: sentences of a text",
    "pipelines/text/spaced_text.py": "test_tokenizer, test_pieces: pieces between spaces",
    "pipelines/text/spaced_text_1.py": "test_tokenizer: version 1 of the rules",
    "schemas/checks.py": "test_tables: tables that are not of their schema",
}
# Test files that are of no single module, and what they are of.
OF_NO_MODULE = {
    "tests/elmo_infer/formats/test_archives.py": "archives as people make them, of any format",
    "tests/elmo_infer/formats/test_damaged_models.py": "files of any format, damaged at random",
    "tests/pipelines/corpus/test_histories.py": "orders of steps that once lost or doubled data",
    "tests/pipelines/test_trust.py": "a corpus from somebody else",
    "tests/pipelines/commands/test_input_jobs.py": "faulty input through whole jobs",
    "tests/pipelines/reading/test_input_as_it_comes.py": "input of any kind through all readers",
    "tests/pipelines/commands/test_text_as_it_comes.py": "any text through all commands",
    "tests/pipelines/corpus/test_faults.py": "kills and errors of the disk at every operation",
    "tests/pipelines/corpus/test_interleaving.py": "orders of two writers' steps",
    "tests/elmo_infer/test_device.py": "what a GPU is asked for, over several modules",
    "tests/elmo_infer/test_parity.py": "vectors of the original implementations",
    "tests/elmo_infer/training/test_export_allennlp.py": "another program reads what was trained",
    "tests/elmo_infer/training/test_export_simple_elmo.py": "another program, of its own Python",
    "tests/elmo_infer/training/test_training_device.py": "what a GPU is asked for in training",
    "tests/pipelines/corpus/test_object_store.py": "a corpus's whole life in a bucket",
    "tests/pipelines/embed/jobs/test_stream_survival.py": "kills and signals of a stream",
    "tests/pipelines/embed/jobs/test_survival.py": "kills, full disks and failing models",
    "tests/pipelines/serving/page/test_handling.py": "the page: filters, addresses, keys, screens",
    "tests/pipelines/serving/page/test_lines.py": "the page: queries, lines, folds, weights",
    "tests/pipelines/serving/page/test_senses_and_documents.py": "the page: map and documents",
    "tests/pipelines/serving/page/test_states.py": "the page: errors, hostile text, accessibility",
    "tests/pipelines/test_corpus_0_1.py": "a corpus that version 0.1.0 wrote",
}
NAMED_TUPLE = {"_replace", "_asdict", "_fields"}
# Private names of other packages that tests of ours cannot do without.
OF_OTHERS = {
    "func._schema.name",  # an operator's name, which PyTorch's dispatch modes give no other way
    "func._schema",
    "bilm._elmo_lstm.reset_states",  # AllenNLP carries states from batch to batch
    "bilm._elmo_lstm",
    "parser._subparsers._group_actions",  # argparse tells of its subcommands in no other way
    "parser._subparsers",
    "subparser._actions",
    "parser._actions",
    "parser._option_string_actions",
    "argparse._SubParsersAction",
}


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.name != "__init__.py":
                yield path.relative_to(ROOT)


def file_of(module: Path) -> Path:
    """tests/a/test_b.py is of a/b.py, and of the package a/b too."""
    return Path("tests") / module.with_name(f"test_{module.stem.strip('_')}.py")


def all_test_files() -> Iterator[Path]:
    for package in PACKAGES:
        for path in sorted((TESTS / package).rglob("test_*.py")):
            yield path.relative_to(ROOT)


def test_every_module_has_its_test_file_or_a_reason() -> None:
    missing = {str(m) for m in modules() if not (ROOT / file_of(m)).is_file()}
    assert missing == set(WITHOUT)


def test_every_test_file_is_of_a_module_or_has_a_reason() -> None:
    known = {str(file_of(module)) for module in modules()}
    strays = {str(path) for path in all_test_files()} - known
    assert strays == set(OF_NO_MODULE)


def private(name: str) -> bool:
    # Named tuples keep their own methods out of the way of their fields.
    return name.startswith("_") and not name.startswith("__") and name not in NAMED_TUPLE


def ours(module: str | None) -> bool:
    return module is not None and module.split(".")[0] in PACKAGES


def private_names(path: Path) -> list[str]:
    """Return the private names of our modules that a test imports, patches or reads off one."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found, modules_here = [], set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and ours(node.module):
            found += [alias.name for alias in node.names if private(alias.name)]
            modules_here |= {alias.asname or alias.name for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            parts = node.value.split(".")
            if ours(node.value) and len(parts) > 1 and any(map(private, parts)):
                found.append(node.value)
        if isinstance(node, ast.Attribute) and private(node.attr):
            read = ast.unparse(node)
            if read.split(".")[0] not in ("self", "cls") and read not in OF_OTHERS:
                found.append(read)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".setattr"):
            owner, *names = [ast.unparse(argument) for argument in node.args[:2]]
            if owner.split(".")[0] in modules_here:
                found += [f"{owner}.{name}" for name in names if private(name.strip("'"))]
    return found


@pytest.mark.parametrize(
    "path", sorted(TESTS.rglob("*.py")), ids=lambda p: str(p.relative_to(TESTS))
)
def test_tests_reach_into_no_private_name(path: Path) -> None:
    assert private_names(path) == []
