"""The command senses, from a word to what is printed and drawn."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]


def test_senses_are_told_and_drawn(corpus: str, run: Run, tmp_path: Path) -> None:
    for name in ("map.png", "map.html"):
        plot = str(tmp_path / name)
        status, out, _ = run("senses", "--corpus", corpus, "bank", "--plot", plot)
        assert status == 0
        assert "occurrences (" in out
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "map.html").read_text(encoding="utf-8")
    assert page.count("<circle") == 32
    assert "river/0" in page
    _, out, _ = run("senses", "--corpus", corpus, "bank", "--json")
    told = json.loads(out)
    # 32 lines, of which four differ.
    assert sum(sense["size"] for sense in told["senses"]) == 4
    assert any("28 lines repeat another word for word" in note for note in told["notes"])
    assert told["senses"][0]["lines"][0]["node"] == "bank"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bannk"], "never occurs in this corpus; nearest forms:"),
        ([" "], "the word is empty"),
        (["bank", "--plot", "map.gif"], "give a file that ends in .png or .html"),
    ],
)
def test_senses_of_nothing_exit_2(corpus: str, run: Run, arguments: list[str], words: str) -> None:
    status, _, err = run("senses", "--corpus", corpus, *arguments)
    assert status == 2
    assert words in err
