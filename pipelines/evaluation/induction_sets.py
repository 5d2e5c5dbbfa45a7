"""Readers of the sets on which induced senses are scored: SemCor-WSI and SemEval-2013 task 13.

An occurrence whose gold sense is not in the files is read too: its sense is induced and can be
written (`--keys`), but it has no part in the scores.
"""

import csv
import gzip
import io
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from pipelines.evaluation.sets import Context, InductionSet, Instance

_SPAN = re.compile(r"\(?\s*(\d+)\s*,\s*(\d+)\s*\)?")
_NEEDED = ("sentence", "lemma", "position")
Locate = Callable[[str, str, int, int], Context]


# --- SemCor-WSI -----------------------------------------------------------------------------------


def read_semcor_wsi(folder: Path) -> InductionSet:
    """SemCor-WSI (Mosolova, Candito, Ramisch 2025): *.csv.gz or *.csv with a header.

    Columns: sentence (tokens separated by spaces), lemma, position "(first character, one past the
    last)"; pos and lexsn, the gold sense, where there are any. A word is a lemma and a pos. Rows
    are numbered from 0; of several files in the order of their names, on from one to the next.
    """
    paths = sorted([*folder.glob("*.csv.gz"), *folder.glob("*.csv")])
    if not paths:
        raise ValueError(f"{folder}: no *.csv.gz; expected SemCor-WSI's files")
    instances: list[Instance] = []
    for path in paths:
        for where, row in _csv_rows(path):
            lemma = "_".join(row["lemma"].split())
            pos = (row.get("pos") or "").strip()
            gold = (row.get("lexsn") or "").strip()
            instances.append(
                Instance(
                    id=str(len(instances)),
                    lemma=f"{lemma}.{pos}" if pos else lemma,
                    context=_at_span(where, row["sentence"], row["position"]),
                    gold=((gold, 1.0),) if gold else (),
                )
            )
    return InductionSet(name="semcor_wsi", instances=tuple(instances))


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    data = path.read_bytes()
    try:
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    columns = reader.fieldnames or []
    missing = [name for name in _NEEDED if name not in columns]
    if missing:
        raise ValueError(f"{path}: no column {missing[0]!r}; columns found: {list(columns)}")
    for row in reader:
        where = f"{path}:{reader.line_num}"
        if any(row[name] is None for name in _NEEDED):
            raise ValueError(f"{where}: fewer fields than the header has")
        yield where, row


def _at_span(where: str, sentence: str, position: str) -> Context:
    """Return the space-separated tokens, and which of them shares most characters with a span."""
    found = _SPAN.fullmatch(position.strip())
    if found is None:
        raise ValueError(f"{where}: position {position!r}, expected as in (57, 67)")
    start, end = (int(number) for number in found.groups())
    pieces = list(re.finditer(r"\S+", sentence))
    shared = [min(end, piece.end()) - max(start, piece.start()) for piece in pieces]
    if not shared or max(shared) <= 0:
        raise ValueError(f"{where}: no token at characters {start}-{end} of {sentence[:80]!r}")
    return Context(tuple(piece.group() for piece in pieces), shared.index(max(shared)))


# --- SemEval-2013 task 13 -------------------------------------------------------------------------


def read_semeval2013_wsi(folder: Path, locate: Locate) -> InductionSet:
    """SemEval-2013 task 13 (Jurgens, Klapaftis 2013): *.tar.gz, or the unpacked folder.

    Every XML file whose root is `instances`, at any depth, is one lemma; gold/all.key has the gold
    senses with their weights. Instances without gold are induced with the others and not scored.

    Args:
      folder: of the set.
      locate: finds the sentence and the token at a span of a text.
    """
    files = _members(folder)
    roots = {name: _parse(name, data) for name, data in files.items() if name.endswith(".xml")}
    lemmas = {name: root for name, root in roots.items() if root.tag == "instances"}
    if not lemmas:
        raise ValueError(
            f"{folder}: no XML file of instances; expected *.tar.gz of SemEval-2013 task 13, or"
            " what is in it"
        )
    gold = _gold_key(files)
    instances: dict[str, Instance] = {}
    for name, root in lemmas.items():
        for element in root.iter("instance"):
            one = _instance(name, root, element, gold, locate)
            known = instances.setdefault(one.id, one)
            if known.context != one.context:
                raise ValueError(f"{name}: instance {one.id} occurs twice, with different texts")
    return InductionSet(name="semeval2013_wsi", instances=tuple(instances.values()), force=True)


def _members(folder: Path) -> dict[str, bytes]:
    """Return XML and key files below a folder and in its archives, by name in order."""
    found = {
        str(path): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".xml", ".key") and path.is_file()
    }
    for archive in sorted([*folder.glob("*.tar.gz"), *folder.glob("*.tgz"), *folder.glob("*.tar")]):
        try:
            with tarfile.open(archive) as opened:
                for member in sorted(opened.getmembers(), key=lambda m: m.name):
                    file = opened.extractfile(member) if member.isfile() else None
                    if file is not None and member.name.endswith((".xml", ".key")):
                        found[f"{archive}/{member.name}"] = file.read()
        except (tarfile.TarError, OSError, EOFError) as error:
            raise ValueError(f"{archive}: cannot be read: {error}") from error
    return found


def _parse(name: str, data: bytes) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise ValueError(f"{name}: not XML: {error}") from error


def _gold_key(files: Mapping[str, bytes]) -> dict[str, tuple[tuple[str, float], ...]]:
    """Return each instance's senses with weights, the largest 1; empty without a key."""
    keys = [name for name in files if name.endswith(".key") and "gold" in Path(name).parts]
    whole = [name for name in keys if Path(name).name == "all.key"] or keys
    gold: dict[str, tuple[tuple[str, float], ...]] = {}
    for name in whole:
        for number, line in enumerate(files[name].decode("utf-8").split("\n"), start=1):
            if line.strip():
                instance, senses = _key_line(f"{name}:{number}", line)
                gold[instance] = senses
    return gold


def _key_line(where: str, line: str) -> tuple[str, tuple[tuple[str, float], ...]]:
    fields = line.split()
    if len(fields) < 3:
        raise ValueError(f"{where}: expected 'lemma instance sense/weight ...', found {line!r}")
    senses = {}
    for field in fields[2:]:
        sense, slash, weight = field.rpartition("/")
        try:
            senses[sense if slash else field] = float(weight) if slash else 1.0
        except ValueError:
            raise ValueError(f"{where}: {field!r}, expected sense/weight") from None
    most = max(senses.values())
    if most <= 0:
        raise ValueError(f"{where}: no weight above 0")
    return fields[1], tuple((sense, weight / most) for sense, weight in senses.items())


def _instance(
    name: str,
    root: ElementTree.Element,
    element: ElementTree.Element,
    gold: Mapping[str, tuple[tuple[str, float], ...]],
    locate: Locate,
) -> Instance:
    given: Mapping[str, Any] = {**root.attrib, **element.attrib}
    text = "".join(element.itertext())
    where = f"{name}: instance {given.get('id', '?')}"
    try:
        identity, lemma, pos = given["id"], given["lemma"], given["partOfSpeech"]
        start, end = int(given["tokenStart"]), int(given["tokenEnd"])
    except (KeyError, ValueError) as error:
        raise ValueError(f"{where}: attribute missing or no number: {error}") from error
    token = given.get("token", text[start:end])
    if text[start:end] != token:  # offsets that count otherwise: the nearest place of the token
        places = [match.start() for match in re.finditer(re.escape(token), text)] if token else []
        if not places:
            raise ValueError(f"{where}: token {token!r} is not in {text[:80]!r}")
        start = min(places, key=lambda place: abs(place - start))
        end = start + len(token)
    return Instance(
        id=identity,
        lemma=f"{lemma}.{pos}",
        context=locate(where, text, start, end),
        gold=gold.get(identity, ()),
    )
