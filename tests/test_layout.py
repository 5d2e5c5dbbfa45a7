"""Tests mirror the code: a file a module, and none reaches into what a module keeps private."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
PACKAGES = ("schemas", "elmo_infer", "pipelines")

# Modules without a test file of their own, and what checks them instead.
WITHOUT: dict[str, str] = {}
# Test files that are of no single module, and what they are of.
OF_NO_MODULE: dict[str, str] = {}
# Private names of other packages that tests of ours cannot do without.
OF_OTHERS = {
    "func._schema.name",  # an operator's name, which PyTorch's dispatch modes give no other way
    "func._schema",
    "bilm._elmo_lstm.reset_states",  # AllenNLP carries states from batch to batch
    "bilm._elmo_lstm",
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
    return name.startswith("_") and not name.startswith("__")


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
