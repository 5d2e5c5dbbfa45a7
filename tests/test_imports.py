"""The direction of dependence, as assertions: README's file map is true."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STANDARD = set(sys.stdlib_module_names)

ALLOWED = {
    "schemas": {"pyarrow", "schemas"},
    "elmo_infer": {"elmo_infer", "fsspec", "h5py", "numpy", "safetensors", "torch"},
}
TRAINING_MAY_ALSO = {"gensim", "matplotlib", "sklearn", "triton"}
WITHOUT_BEAM = (
    "corpus", "index/approximate", "index/centering", "index/exact", "index/factory",
    "index/format", "index/measure", "index/options", "index/reader", "index/sizing", "maintenance",
    "options", "sentence_ends", "storage", "tokenization", "word_segmenters",
)  # fmt: skip
FOLDERS_WITHOUT_BEAM = ("evaluation", "search", "senses")


def imported(path: Path) -> Iterator[str]:
    """Yield the dotted names a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where a name comes from"
            yield node.module or ""


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_package_imports_only_what_it_may(package: str) -> None:
    for path in modules(package):
        allowed = ALLOWED[package] | STANDARD
        if "training" in path.parts:
            allowed = allowed | TRAINING_MAY_ALSO
        foreign = {name.split(".")[0] for name in imported(path)} - allowed
        assert not foreign, f"{path.relative_to(ROOT)} imports {sorted(foreign)}"


def test_inference_never_imports_training() -> None:
    for path in modules("elmo_infer"):
        if "training" not in path.parts:
            names = [name for name in imported(path) if name.startswith("elmo_infer.training")]
            assert not names, f"{path.relative_to(ROOT)} imports {names}"


def test_search_evaluation_and_storage_are_free_of_beam() -> None:
    paths = modules(*(f"pipelines/{folder}" for folder in FOLDERS_WITHOUT_BEAM))
    paths += [ROOT / "pipelines" / f"{name}.py" for name in WITHOUT_BEAM]
    for path in paths:
        beam = [module for module in imported(path) if module.startswith("apache_beam")]
        assert not beam, f"{path.relative_to(ROOT)} imports {beam}"


def test_nothing_imports_the_command_line_or_the_tests() -> None:
    for path in modules("schemas", "elmo_infer", "pipelines", "deploy"):
        names = set(imported(path))
        assert "pipelines.__main__" not in names, path
        assert not any(name.split(".")[0] in ("tests", "deploy") for name in names), path


def test_product_code_holds_no_program_in_deploy() -> None:
    assert modules("deploy") == []


@pytest.mark.parametrize("module", ["pipelines.search.engine", "pipelines.corpus"])
def test_search_starts_without_beam(module: str) -> None:
    program = f"import sys, {module}; print([m for m in sys.modules if 'apache_beam' in m])"
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert found.stdout.strip() == "[]"


def test_help_starts_without_heavy_packages() -> None:
    program = (
        "import sys\nfrom pipelines.__main__ import build_parser\nbuild_parser('search')\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'apache_beam', 'faiss',"
        " 'pyarrow', 'spacy', 'numpy'}))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert found.stdout.strip() == "[]"
