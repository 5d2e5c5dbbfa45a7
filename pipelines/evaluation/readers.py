"""Readers of the evaluation sets: files to sentences, target positions and gold labels.

DIR/<folder>/ holds each set in the format its makers publish; SOURCES names the folders and the
readers' docstrings the files. Text that comes in tokens is used as it is; raw text goes through
the tokenizer that the reader is given.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from pipelines.evaluation.induction_sets import read_semcor_wsi, read_semeval2013_wsi
from pipelines.evaluation.sense_sets import (
    context_at,
    read_coarsewsd20,
    read_labels,
    read_senseval,
    read_small_samples,
)
from pipelines.evaluation.set_files import (
    json_lines,
    json_list,
    numbered_lines,
    read_text,
    split_fields,
    to_number,
)
from pipelines.evaluation.sets import (
    Collection,
    Context,
    EvaluationSet,
    Sentence,
    SentencePairs,
    UsagePair,
    UsagePairs,
)


class TokenizedSentence(Protocol):
    """One sentence of a text; see pipelines.tokenization."""

    @property
    def tokens(self) -> list[str]: ...
    @property
    def token_starts(self) -> Sequence[int]: ...
    @property
    def token_ends(self) -> Sequence[int]: ...


Tokenize = Callable[[str], Sequence[TokenizedSentence]]


def _flag(where: str, tag: str) -> float:
    if tag not in ("T", "F"):
        raise ValueError(f"{where}: gold label {tag!r}, expected T or F")
    return float(tag == "T")


# --- raw text -------------------------------------------------------------------------------------


def locate(where: str, text: str, start: int, end: int, tokenize: Tokenize) -> Context:
    """Find the sentence and the token that hold text[start:end].

    Of several tokens that overlap the span (a hyphenated word, say) the one sharing the most
    characters with it is the target, the first of equals.
    """
    best, found = 0, None
    for sentence in tokenize(text):
        spans = zip(sentence.token_starts, sentence.token_ends, strict=True)
        for index, (token_start, token_end) in enumerate(spans):
            shared = min(end, int(token_end)) - max(start, int(token_start))
            if shared > best:
                best, found = shared, Context(tuple(sentence.tokens), index)
    if found is None:
        raise ValueError(f"{where}: no token at characters {start}-{end} of {text!r}")
    return found


def one_sentence(text: str, tokenize: Tokenize) -> Sentence:
    """Tokens of a text that its makers say is one sentence, whatever the tokenizer thinks."""
    return tuple(token for sentence in tokenize(text) for token in sentence.tokens)


def sentences_of(text: str, tokenize: Tokenize) -> tuple[Sentence, ...]:
    """The sentences of a text."""
    return tuple(tuple(sentence.tokens) for sentence in tokenize(text))


# --- usage pairs ----------------------------------------------------------------------------------


def _wic_part(folder: Path, part: str) -> tuple[UsagePair, ...]:
    golds = [
        _flag(where, line.strip()) for where, line in numbered_lines(folder / f"{part}.gold.txt")
    ]
    lines = list(numbered_lines(folder / f"{part}.data.txt"))
    if len(lines) != len(golds):
        raise ValueError(
            f"{folder}: {len(lines)} pairs in {part}.data.txt, {len(golds)} in {part}.gold.txt"
        )
    pairs = []
    for number, ((where, line), gold) in enumerate(zip(lines, golds, strict=True)):
        _, _, positions, left, right, *_ = split_fields(where, line, 5)
        first, _, second = positions.partition("-")
        if not (first.isdigit() and second.isdigit()):
            raise ValueError(f"{where}: positions {positions!r}, expected as in 3-0")
        pairs.append(
            UsagePair(
                id=f"{part}.{number}",
                left=context_at(where, left.split(" "), int(first)),
                right=context_at(where, right.split(" "), int(second)),
                gold=gold,
            )
        )
    return tuple(pairs)


def read_wic(folder: Path, tokenize: Tokenize) -> UsagePairs:  # noqa: ARG001 - in tokens
    """WiC (Pilehvar and Camacho-Collados 2019): {train,dev}.{data,gold}.txt, in tokens."""
    return UsagePairs(name="wic", pairs=_wic_part(folder, "dev"), train=_wic_part(folder, "train"))


def _mcl_wic_part(folder: Path, part: str, tokenize: Tokenize) -> tuple[UsagePair, ...]:
    path = folder / f"{part}.data.json.gz"
    gold = {
        row["id"]: _flag(f"{path}: {row['id']}", row["tag"])
        for row in json_list(folder / f"{part}.gold.json.gz", "id", "tag")
    }
    pairs = []
    sides = [(f"sentence{side}", f"start{side}", f"end{side}") for side in (1, 2)]
    for row in json_list(path, "id", *(key for side in sides for key in side)):
        where = f"{path}: {row['id']}"
        if row["id"] not in gold:
            raise ValueError(f"{where}: no gold label")
        left, right = (
            locate(where, row[text], int(row[start]), int(row[end]), tokenize)
            for text, start, end in sides
        )
        pairs.append(UsagePair(id=row["id"], left=left, right=right, gold=gold[row["id"]]))
    return tuple(pairs)


def read_mcl_wic(folder: Path, tokenize: Tokenize) -> UsagePairs:
    """MCL-WiC, English (Martelli et al. 2021): {training,dev}.en-en.{data,gold}.json.gz."""
    return UsagePairs(
        name="mcl_wic",
        pairs=_mcl_wic_part(folder, "dev.en-en", tokenize),
        train=_mcl_wic_part(folder, "training.en-en", tokenize),
    )


def read_mcl_wic_zh(folder: Path, tokenize: Tokenize) -> UsagePairs:
    """MCL-WiC, Chinese: dev.zh-zh.{data,gold}.json.gz; there is no part to tune on."""
    return UsagePairs(name="mcl_wic_zh", pairs=_mcl_wic_part(folder, "dev.zh-zh", tokenize))


def _marked(where: str, text: str, tokenize: Tokenize) -> Context:
    before, opening, rest = text.partition("<b>")
    word, closing, after = rest.partition("</b>")
    if not (opening and closing and word.strip()):
        raise ValueError(f"{where}: no target between <b> and </b> in {text[:80]!r}")
    before, word, after = before.strip(), word.strip(), after.strip()
    plain = f"{before} {word} {after}".strip()
    start = len(before) + 1 if before else 0
    return locate(where, plain, start, start + len(word), tokenize)


def read_scws(folder: Path, tokenize: Tokenize) -> UsagePairs:
    """SCWS (Huang et al. 2012): dev.tsv.gz, target between <b> and </b>, mean rating 0-10."""
    pairs = []
    for where, line in numbered_lines(folder / "dev.tsv.gz"):
        name, _, _, _, _, left, right, rating, *_ = split_fields(where, line, 8)
        pairs.append(
            UsagePair(
                id=name,
                left=_marked(where, left, tokenize),
                right=_marked(where, right, tokenize),
                gold=to_number(where, rating),
            )
        )
    return UsagePairs(name="scws", pairs=tuple(pairs), graded=True)


# --- sentence sets --------------------------------------------------------------------------------


def _sentence_pairs(
    name: str, rows: Iterable[tuple[str, str, float]], tokenize: Tokenize
) -> SentencePairs:
    lefts, rights, golds = [], [], []
    for left, right, gold in rows:
        lefts.append(one_sentence(left, tokenize))
        rights.append(one_sentence(right, tokenize))
        golds.append(gold)
    return SentencePairs(name=name, left=tuple(lefts), right=tuple(rights), gold=tuple(golds))


def _tabbed_pairs(
    path: Path, left: int, right: int, gold: int, skip: int = 0
) -> Iterator[tuple[str, str, float]]:
    for where, line in list(numbered_lines(path))[skip:]:
        fields = split_fields(where, line, max(left, right, gold) + 1)
        yield fields[left], fields[right], to_number(where, fields[gold])


def read_stsb(folder: Path, tokenize: Tokenize) -> SentencePairs:
    """STS benchmark (Cer et al. 2017), dev part: sts-dev.csv, tab-separated, no quoting."""
    return _sentence_pairs("stsb", _tabbed_pairs(folder / "sts-dev.csv", 5, 6, 4), tokenize)


def read_sick(folder: Path, tokenize: Tokenize) -> SentencePairs:
    """SICK (Marelli et al. 2014), train part: SICK_train.txt, with a header."""
    path = folder / "SICK_train.txt"
    header = read_text(path).split("\n", 1)[0].strip().split("\t")
    wanted = ("sentence_A", "sentence_B", "relatedness_score")
    missing = [column for column in wanted if column not in header]
    if missing:
        raise ValueError(f"{path}: no column {missing[0]!r}; columns found: {header}")
    left, right, gold = (header.index(column) for column in wanted)
    return _sentence_pairs("sick", _tabbed_pairs(path, left, right, gold, skip=1), tokenize)


def read_stsb_zh(folder: Path, tokenize: Tokenize) -> SentencePairs:
    """Chinese STS-B, dev part: sts-b-dev.txt.gz."""
    rows = _tabbed_pairs(folder / "sts-b-dev.txt.gz", 0, 1, 2)
    return _sentence_pairs("stsb_zh", rows, tokenize)


def read_lcqmc_zh(folder: Path, tokenize: Tokenize) -> SentencePairs:
    """LCQMC (Liu et al. 2018), dev part: dev.txt.gz, gold 0 or 1."""
    return _sentence_pairs("lcqmc_zh", _tabbed_pairs(folder / "dev.txt.gz", 0, 1, 2), tokenize)


def read_afqmc_zh(folder: Path, tokenize: Tokenize) -> SentencePairs:
    """AFQMC (Xu et al. 2020), train part, the only one with labels: train.txt.gz, gold 0 or 1."""
    rows = _tabbed_pairs(folder / "train.txt.gz", 0, 1, 2)
    return _sentence_pairs("afqmc_zh", rows, tokenize)


def _read_collection(
    name: str, folder: Path, tokenize: Tokenize, gain: Callable[[str, list[str]], float]
) -> Collection:
    ids, documents = [], []
    for _, row in json_lines(folder / "docs.jsonl.gz", "id", "title", "text"):
        title, text = row["title"].strip(), row["text"].strip()
        repeated = text.startswith(title)  # Cranfield's texts begin with the title
        ids.append(str(row["id"]))
        parts = [text] if repeated else [title, text]
        documents.append(tuple(s for part in parts for s in sentences_of(part, tokenize)))
    numbers = {document_id: number for number, document_id in enumerate(ids)}
    judged: dict[str, dict[int, float]] = defaultdict(dict)
    path = folder / "qrels.tsv"
    for where, line in numbered_lines(path):
        query, document, *code = split_fields(where, line, 2)
        if document not in numbers:
            raise ValueError(f"{where}: document {document!r} is not in docs.jsonl.gz")
        value = gain(where, code)
        if value > 0:
            judged[query][numbers[document]] = value
    queries, gains = [], []
    for _, row in json_lines(folder / "queries.jsonl", "id", "text"):
        if judged.get(str(row["id"])):
            queries.append(sentences_of(row["text"], tokenize))
            gains.append(judged[str(row["id"])])
    return Collection(
        name=name,
        document_ids=tuple(ids),
        documents=tuple(documents),
        queries=tuple(queries),
        gains=tuple(gains),
    )


def _cranfield_gain(where: str, code: list[str]) -> float:
    """Cranfield's codes run from 1 (a complete answer) to 4 (of minimum interest); -1 is none."""
    if not code:
        raise ValueError(f"{where}: no relevance code in the third field")
    value = to_number(where, code[0])
    return 5.0 - value if 1 <= value <= 4 else 0.0


def read_cranfield(folder: Path, tokenize: Tokenize) -> Collection:
    """Cranfield: docs.jsonl.gz, queries.jsonl, qrels.tsv; gain = 5 - code."""
    return _read_collection("cranfield", folder, tokenize, _cranfield_gain)


def read_cisi(folder: Path, tokenize: Tokenize) -> Collection:
    """CISI: docs.jsonl.gz, queries.jsonl, qrels.tsv; a document is relevant or not."""
    return _read_collection("cisi", folder, tokenize, lambda *_: 1.0)


# --- which sets there are -------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """Where a set lies below DIR, its language, and its reader."""

    folder: str
    language: str
    read: Callable[[Path, Tokenize], EvaluationSet]


SOURCES = {
    "coarsewsd20": Source("coarsewsd20", "en", lambda folder, _: read_coarsewsd20(folder)),
    "senseval": Source("senseval_4words", "en", lambda folder, _: read_senseval(folder)),
    "semcor_wsi": Source("semcor_wsi", "en", lambda folder, _: read_semcor_wsi(folder)),
    "semeval2013_wsi": Source(
        "semeval2013_wsi",
        "en",
        lambda folder, tokenize: read_semeval2013_wsi(folder, partial(locate, tokenize=tokenize)),
    ),
    "small_samples": Source("coarsewsd20", "en", lambda folder, _: read_small_samples(folder)),
    "sense_labels": Source("coarsewsd20", "en", lambda folder, _: read_labels(folder)),
    "wic": Source("wic", "en", read_wic),
    "mcl_wic": Source("mcl_wic", "en", read_mcl_wic),
    "scws": Source("scws", "en", read_scws),
    "stsb": Source("stsb_en", "en", read_stsb),
    "sick": Source("sick", "en", read_sick),
    "cranfield": Source("cranfield", "en", read_cranfield),
    "cisi": Source("cisi", "en", read_cisi),
    "mcl_wic_zh": Source("mcl_wic", "zh", read_mcl_wic_zh),
    "stsb_zh": Source("stsb_zh", "zh", read_stsb_zh),
    "lcqmc_zh": Source("lcqmc_zh", "zh", read_lcqmc_zh),
    "afqmc_zh": Source("afqmc_zh", "zh", read_afqmc_zh),
}
TEXT_SET = "single_sense"  # is read from text (`--text`), not from a folder of its own
# Whose induced senses (or labels) `--keys` writes.
KEYED_SETS = ("semcor_wsi", "semeval2013_wsi", "small_samples", "sense_labels", TEXT_SET)


def choose_sets(
    root: Path, names: Sequence[str], language: str, *, text: bool = False
) -> tuple[str, ...]:
    """The names to evaluate: those given, or every set of the language that lies below `root`.

    Args:
      root: folder that holds the sets.
      names: asked for.
      language: of the sets, where none is named.
      text: there is text for the set TEXT_SET.

    Raises:
      ValueError: for a name that is not known, a named set that is missing, or nothing found.
    """
    if not root.is_dir():
        raise ValueError(
            f"there is no directory {root}; --data names the folder that holds the evaluation sets"
        )
    languages = sorted({source.language for source in SOURCES.values()})
    if not names and not text and language not in languages:
        raise ValueError(
            f"no evaluation set is in language {language!r}; there are {', '.join(languages)}"
        )
    for name in names:
        if name == TEXT_SET:
            if not text:
                raise ValueError(f"set {name!r} is read from text; give it with --text FILE")
            continue
        if name not in SOURCES:
            known = ", ".join((*SOURCES, TEXT_SET))
            raise ValueError(f"no evaluation set is named {name!r}; there are {known}")
        if not (root / SOURCES[name].folder).is_dir():
            raise ValueError(f"set {name!r} is missing: {root} has no {SOURCES[name].folder}/")
    if names:
        return tuple(dict.fromkeys(names))
    found = tuple(
        name
        for name, source in SOURCES.items()
        if source.language == language and (root / source.folder).is_dir()
    ) + ((TEXT_SET,) if text else ())
    if not found:
        folders = (s.folder for s in SOURCES.values() if s.language == language)
        expected = ", ".join(dict.fromkeys(folders))
        raise ValueError(
            f"no evaluation set in {root}; expected one folder or more of these names: {expected}"
        )
    return found


def read_set(root: Path, name: str, tokenize: Tokenize) -> EvaluationSet:
    """Read one set of SOURCES from below `root`.

    Raises:
      ValueError: for a file that is missing or malformed; the message says where.
    """
    source = SOURCES[name]
    try:
        return source.read(root / source.folder, tokenize)
    except FileNotFoundError as error:
        raise ValueError(f"set {name!r} is incomplete: no file {error.filename}") from error
