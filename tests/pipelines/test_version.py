"""The command line, manifests, package and changelog have one version."""

import re
from pathlib import Path

import pytest

from pipelines.__main__ import main
from pipelines.corpus.manifests import written_by
from pipelines.version import version

ROOT = Path(__file__).resolve().parents[2]


def test_command_and_manifests_tell_one_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.strip() == f"sensegrep {version()}" == written_by()


def test_the_newest_release_in_the_changelog_is_that_of_the_package() -> None:
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    [ours] = re.findall(r'^    version="(.+)"', setup, re.MULTILINE)
    releases = re.findall(r"^## \[(.+)\] - (.+)$", changelog, re.MULTILINE)
    assert releases[0][0] == ours
    assert len(releases) == len(re.findall(r"^## ", changelog, re.MULTILINE))
    for number, date in releases[1:]:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", date), f"{number} has no date"


def test_the_changelog_has_bullets_without_gaps() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.split(r"^### .+\n", changelog, flags=re.MULTILINE)[1:]
    for section in sections:
        bullets = section.split("\n## ")[0].strip()
        assert "\n\n" not in bullets
        assert all(re.match(r"- |  \S", line) for line in bullets.splitlines())
