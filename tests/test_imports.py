"""The direction of dependence, from one table: DESIGN's layout is true of the code."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from setuptools import find_packages

ROOT = Path(__file__).resolve().parent.parent
STANDARD = set(sys.stdlib_module_names)

# Each folder imports itself and folders above it. `errors` is below all of `pipelines`; the roof
# (`api`, `commands`, `__main__`) stands on everything.
LAYERS = (
    "schemas",
    "elmo_infer",
    "elmo_infer.formats",
    "elmo_infer.training",
    "pipelines.errors",
    "pipelines.version",
    "pipelines.text",
    "pipelines.corpus",
    "pipelines.reading",
    "pipelines.embed",
    "pipelines.embed.jobs",
    "pipelines.index",
    "pipelines.search",
    "pipelines.senses",
    "pipelines.api",
    "pipelines.serving",
    "pipelines.maintenance",
    "pipelines.evaluation",
    "pipelines.commands",
    "pipelines.__main__",
)
# What of other packages a folder may import, itself or through what it imports.
MAY_IMPORT = {
    "schemas": {"pyarrow"},
    # Triton comes with PyTorch for CUDA, and is imported where there is a device only.
    "elmo_infer": {"fsspec", "h5py", "numpy", "safetensors", "threadpoolctl", "torch", "triton"},
    "elmo_infer.training": {"gensim", "matplotlib", "sklearn"},
}
# One package in two folders: types of the model, and the readers of its files.
SAME_LAYER = {"elmo_infer", "elmo_infer.formats"}
# These may not be reached from a folder, however many modules lie between.
NEVER_REACHED = {
    "schemas": {"elmo_infer", "pipelines"},
    "elmo_infer": {
        "elmo_infer.training",
        "pipelines",
        "schemas",
        "apache_beam",
        "pyarrow",
        "faiss",
    },
    "pipelines.text": {"apache_beam", "torch", "pyarrow", "faiss"},
    "pipelines.corpus": {"apache_beam", "torch", "faiss"},
    "pipelines.reading": {"apache_beam", "torch", "faiss"},
    "pipelines.search": {"apache_beam", "sklearn", "pipelines.senses"},
    "pipelines.senses": {"apache_beam", "sklearn"},
    "pipelines.api": {"apache_beam", "sklearn"},
    "pipelines.serving": {"apache_beam", "sklearn", "matplotlib"},
    "pipelines.maintenance": {"apache_beam"},
    "pipelines.evaluation": {"apache_beam"},
}
# Where Beam may be named: the embedding job's Beam side, and the builder of the index.
BEAM_FILES = {
    "pipelines.embed.batch_coder",
    "pipelines.embed.choose_documents",
    "pipelines.embed.dofns",
    "pipelines.embed.inference",
    "pipelines.embed.transforms",
    "pipelines.index.build",
}
BEAM_FOLDER = "pipelines.embed.jobs"


def module_name(path: Path) -> str:
    dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return dotted.removesuffix(".__init__")


MODULES = {
    module_name(path): path
    for package in ("schemas", "elmo_infer", "pipelines")
    for path in sorted((ROOT / package).rglob("*.py"))
}


def statements(tree: ast.Module, *, whole: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports of a module; without `whole` those that importing it carries out."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        inner = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if whole or not (inner or typing):
            todo += ast.iter_child_nodes(node)


@cache
def imported(module: str, *, whole: bool = True) -> frozenset[str]:
    """Return the dotted names a module imports: modules of ours, top-level names of others'."""
    found: set[str] = set()
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    for node in statements(tree, whole=whole):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            assert node.level == 0, f"{module}: relative imports hide where a name comes from"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else str(node.module) for name in names]
        found |= {name if name in MODULES else name.split(".")[0] for name in names}
    return frozenset(found - {module})


def closure(module: str) -> set[str]:
    """Return everything that importing a module imports in the end."""
    found, todo = set(), [module]
    while todo:
        name = todo.pop()
        for other in imported(name, whole=False) if name in MODULES else ():
            if other not in found:
                found.add(other)
                todo.append(other)
    return found


def layer(module: str) -> str:
    """Return the innermost layer that holds a module."""
    holding = [name for name in LAYERS if module == name or module.startswith(f"{name}.")]
    assert holding or module == "pipelines", f"{module} is in no layer of the table"
    return max(holding, key=len, default="pipelines.errors")


def is_in(module: str, name: str) -> bool:
    return module == name or module.startswith(f"{name}.")


@pytest.mark.parametrize("module", sorted(MODULES))
def test_folders_import_only_from_folders_above_them(module: str) -> None:
    mine = layer(module)
    for other in imported(module):
        theirs = layer(other) if other in MODULES else mine
        fits = LAYERS.index(theirs) <= LAYERS.index(mine) or {mine, theirs} <= SAME_LAYER
        assert fits, f"{module} ({mine}) imports {other} ({theirs}), which stands on it"


def test_no_two_files_import_each_other_in_a_circle() -> None:
    def walk(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module in done:
            return
        for other in sorted(imported(module) & MODULES.keys()):
            walk(other, (*path, module))
        done.add(module)

    done: set[str] = set()
    for module in sorted(MODULES):
        walk(module, ())


@pytest.mark.parametrize("folder", sorted(MAY_IMPORT))
def test_packages_import_only_what_they_may(folder: str) -> None:
    allowed = {
        name for above, names in MAY_IMPORT.items() if is_in(folder, above) for name in names
    }
    for module in MODULES:
        if is_in(module, folder) and (folder, layer(module)) != (
            "elmo_infer",
            "elmo_infer.training",
        ):
            foreign = {name for name in imported(module) if name not in MODULES}
            assert foreign <= allowed | STANDARD, module


@pytest.mark.parametrize("folder", sorted(NEVER_REACHED))
def test_what_a_folder_must_not_reach_is_not_reached_through_others_either(folder: str) -> None:
    for module in MODULES:
        if layer(module) == folder:
            reached = [
                (name, never)
                for name in closure(module)
                for never in NEVER_REACHED[folder]
                if is_in(name, never)
            ]
            assert not reached, f"{module} reaches {reached}"


def test_beam_is_named_only_where_it_may_be() -> None:
    naming = {module for module in MODULES if "apache_beam" in imported(module)}
    strays = {m for m in naming - BEAM_FILES if not is_in(m, BEAM_FOLDER)}
    assert not strays
    assert naming >= BEAM_FILES


def test_nothing_imports_the_command_line_the_tests_or_deploy() -> None:
    for module in MODULES:
        assert "pipelines.__main__" not in imported(module), module
        assert not imported(module) & {"tests", "deploy"}, module


# What an engine reads from a Python file, and nothing else; each line says why it is one.
IN_DEPLOY = {
    "airflow/sensegrep_dag.py",  # Airflow has no other form for a DAG
    "dataflow/flex_entry.py",  # Dataflow's launcher knows only --name=value: named to positional
}


def test_product_code_holds_no_program_in_deploy() -> None:
    deploy = ROOT / "deploy"
    assert {str(path.relative_to(deploy)) for path in deploy.rglob("*.py")} == IN_DEPLOY


def test_every_package_ships() -> None:
    declared = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    [call] = [n for n in ast.walk(declared) if isinstance(n, ast.Call) and _is_setup(n)]
    [listed] = [ast.literal_eval(k.value) for k in call.keywords if k.arg == "packages"]
    packages = find_packages(str(ROOT), include=["schemas*", "elmo_infer*", "pipelines*"])
    assert sorted(listed) == sorted(packages)


def _is_setup(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == "setup"


def test_single_sentences_are_encoded_without_torch() -> None:
    assert "torch" not in closure("elmo_infer.sentence_encoder")
    assert "torch" not in closure("pipelines.api")


@pytest.mark.parametrize("module", ["pipelines.api", "pipelines.search.searcher"])
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
