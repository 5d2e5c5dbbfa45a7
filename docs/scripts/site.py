"""What the website has beside the pages of docs/: a hook of MkDocs, named in mkdocs.yml.

It adds the other Markdown files of the repository that readers need, the help of every command and
the reference of the Python API. It turns links between files of the repository into links between
pages of the site. A link to a file that is neither a page nor a picture keeps its words and loses
its address. A link to nothing fails the build.
"""

import contextlib
import io
import os
import posixpath
import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]

# Pages that live outside docs/, by their path in the repository.
PAGES = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "deploy/README.md",
    "elmo_infer/models/en-small-0.1/MODEL_CARD.md",
    "elmo_infer/models/en-small/MODEL_CARD.md",
    "tests/benchmarks/README.md",
)
PICTURES = (".png", ".svg")
# What a page of the reference documents, in order.
REFERENCE = {
    "pipelines": (
        "Corpus: search from Python",
        (
            "pipelines.api.Corpus",
            "pipelines.corpus.view.CorpusView",
            "pipelines.search.options.SearchOptions",
            "pipelines.search.hits.Hit",
            "pipelines.search.hits.Hits",
            "pipelines.senses.options.SenseOptions",
            "pipelines.senses.store.WordSenses",
        ),
    ),
    "elmo_infer": (
        "elmo_infer: tokens in, vectors out",
        (
            "elmo_infer.loading.load",
            "elmo_infer.embedder.Elmo",
            "elmo_infer.embedder.EmbedResult",
        ),
    ),
    "schemas": (
        "schemas: what is on disk",
        ("schemas.tables", "schemas.manifest", "schemas.stream"),
    ),
}
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")


def commands_page() -> str:
    """Return a page with the help of every command, as a terminal of 88 columns shows it."""
    sys.path.insert(0, str(ROOT))
    from pipelines.__main__ import main
    from pipelines.commands.help_examples import EXAMPLES

    os.environ["COLUMNS"] = "88"
    parts = [
        "# Commands",
        "The help of every command, with the options that only `--help-all` shows.",
    ]
    for name in EXAMPLES:
        for flag in ("--help", "--help-all"):
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
                main([*name.split(), flag])
            if "--help-all" not in printed.getvalue():
                break
        parts += [f"## sensegrep {name}", f"```text\n{printed.getvalue().rstrip()}\n```"]
    return "\n\n".join(parts) + "\n"


def reference_page(title: str, names: tuple[str, ...]) -> str:
    """Return a page that mkdocstrings fills with the docstrings of some objects."""
    return "\n\n".join([f"# {title}", *(f"::: {name}" for name in names)]) + "\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside docs/, and the pictures that lie beside them."""
    added = {path: (ROOT / path).read_text(encoding="utf-8") for path in PAGES}
    added["reference/commands.md"] = commands_page()
    for name, (title, objects) in REFERENCE.items():
        added[f"reference/{name}.md"] = reference_page(title, objects)
    for path, text in added.items():
        files.append(File.generated(config, path, content=text))
    for picture in (ROOT / "elmo_infer" / "models").glob("*/*.png"):
        path = picture.relative_to(ROOT).as_posix()
        files.append(File.generated(config, path, abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, *, page: Page, files: Files, **_: object) -> str:
    """Turn links between files of the repository into links between files of the site."""
    source = page.file.src_uri
    home = source if source in PAGES else f"docs/{source}"

    def rewrite(found: re.Match[str]) -> str:
        mark, words, address = found.groups()
        if re.match(r"[a-z]+:|#|mailto:", address):
            return found.group()
        path, _, anchor = address.partition("#")
        target = posixpath.normpath(posixpath.join(posixpath.dirname(home), path))
        placed = target.removeprefix("docs/")
        if files.get_file_from_path(placed) is not None:
            relative = posixpath.relpath(placed, posixpath.dirname(source) or ".")
            return f"{mark}[{words}]({relative}{'#' + anchor if anchor else ''})"
        if (ROOT / target).exists():
            return words
        return found.group()

    return _LINK.sub(rewrite, markdown)
