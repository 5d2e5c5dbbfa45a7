"""The pages of docs/: their commands run, their figures are those of the benchmarks."""

import re
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from pipelines.__main__ import main

sys.path.insert(0, str(Path(__file__).parent))
import pages

SCRIPTS = pages.ROOT / "docs" / "scripts"
BENCHMARKS = pages.ROOT / "tests" / "benchmarks"
# Prose may name no measured speed: those stand in tables that `make figures` makes.
MEASURED = re.compile(
    r"\d[\d,.]* (?:[a-z]+/s\b|ms\b|milliseconds|times as (?:fast|long|much)"
    r"|(?:searches|documents) a second\b|% of (?:the time|`|embed))"
)


def script(name: str, folder: Path = SCRIPTS) -> ModuleType:
    """Import a script of docs/scripts, or of another folder."""
    spec = spec_from_file_location(name, folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the pages name, and with my-corpus."""
    folder = tmp_path_factory.mktemp("pages")
    pages.write_files(folder)
    status = main(["run", str(folder / "articles.jsonl"), "--corpus", str(folder / "my-corpus")])
    assert status == 0
    return folder


SHOWING = [page for page in pages.DOCS if pages.commands(page) or pages.blocks(page, "python")]


@pytest.mark.slow
@pytest.mark.parametrize("page", SHOWING, ids=lambda page: page.name)
def test_commands_and_programs_of_a_page_run(
    page: Path,
    made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(made, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("COLUMNS", str(pages.COLUMNS))
    for (program, *arguments), output in pages.commands(page):
        assert program == "sensegrep"
        status = main(arguments)
        captured = capsys.readouterr()
        assert status == 0, f"{arguments}: exit status {status}\n{captured.err}"
        if output:
            assert pages.agree(output, captured.out), f"{arguments} prints\n{captured.out}"
    for program in pages.blocks(page, "python"):
        exec(compile(program, page.name, "exec"), {})  # the page's own code, as printed


def test_pages_with_commands_are_found() -> None:
    assert {"guide.md", "models.md", "formats.md"} <= {page.name for page in SHOWING}


def test_tables_agree_with_the_json_of_the_benchmarks() -> None:
    figures = script("figures")
    for page in figures.pages():
        text = page.read_text(encoding="utf-8")
        assert figures.with_figures(text) == text, f"{page.name} is stale: run make figures"


def test_every_result_is_shown_on_a_page() -> None:
    figures = script("figures")
    shown = "".join(page.read_text(encoding="utf-8") for page in figures.pages())
    results = [path.stem for path in figures.RESULTS.glob("*.json")]
    assert len(results) >= 15
    assert [name for name in results if f"<!-- figures: {name} -->" not in shown] == []


def test_no_measured_speed_is_typed_by_hand() -> None:
    figures = script("figures")
    for page in figures.pages():
        prose = figures.BLOCK.sub("", page.read_text(encoding="utf-8"))
        assert MEASURED.findall(prose) == [], f"{page.name}: put it into a benchmark's JSON"


def test_results_say_when_where_and_how_they_were_measured() -> None:
    figures = script("figures")
    for path in figures.RESULTS.glob("*.json"):
        measured = figures.read_result(path.stem)["measured"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\d( and \d{4}-\d\d-\d\d)?", measured["date"])
        assert measured["machine"]
        assert measured["command"]


def test_drawings_are_those_of_their_script() -> None:
    drawings = script("drawings")
    for name, text in drawings.drawings().items():
        kept = (drawings.DRAWINGS / name).read_text(encoding="utf-8")
        assert kept == text, f"{name} is stale: run make drawings"


def test_a_stale_table_is_told() -> None:
    figures = script("figures")
    text = (pages.ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    speed = f"{figures.cell('speed-cpu-small', 'float32', 2):,}"
    assert text.count(speed) == 1
    assert figures.with_figures(text.replace(speed, "15,272")) == text


def test_every_page_is_in_the_menu() -> None:
    menu = (pages.ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [page.name for page in pages.DOCS if f": {page.name}\n" not in menu] == []


@pytest.mark.slow
def test_the_site_is_built_and_needs_no_network(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the site is built with the extra docs: make docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=pages.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written = list(tmp_path.rglob("*.html"))
    assert len(written) >= 20
    for page in written:
        loaded = re.findall(
            r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"(https?:|//)[^\"]*\"|"
            r"<link\b[^>]*\bhref=\"(https?:|//)[^\"]*\"",
            page.read_text(encoding="utf-8"),
        )
        assert loaded == [], f"{page.name} loads files from the network: {loaded}"


def test_a_recorded_benchmark_becomes_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures, recording = script("figures"), script("recording", BENCHMARKS)
    table = {"columns": ["what", "figure"], "rows": [["words", 1234], ["share", 0.5]]}
    recording.record("x", {"a": 1}, **table, results=tmp_path)
    assert list(tmp_path.iterdir()) == []  # kept only if it is asked for

    monkeypatch.setenv("SENSEGREP_RECORD", "1")
    monkeypatch.setattr(sys, "argv", ["/bin/pytest", "-s", "x.py"])
    recording.record("x", {"a": 1}, title="X", **table, notes=["a note"], results=tmp_path)
    assert capsys.readouterr().out.count('{"benchmark": "x", "a": 1}') == 2
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    made = figures.with_figures("<!-- figures: x -->\n<!-- end of figures -->")
    assert "| what | figure |\n| --- | ---: |\n| words | 1,234 |\n| share | 0.5 |" in made
    assert "- A note.\n" in made
    assert re.search(r"- Command: `[^`]*pytest -s x.py`", made)
    with pytest.raises(ValueError, match=r"x: a row has 1 cells, expected 2: \['words'\]"):
        recording.record("x", {}, columns=["a", "b"], rows=[["words"]], results=tmp_path)
