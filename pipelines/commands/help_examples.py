"""The examples at the end of each command's help; tests run them in this order.

articles.jsonl has a JSON object on each line, with a field `text`.
"""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "run": (
        "sensegrep run articles.jsonl --corpus my-corpus",
        "sensegrep run 'texts/*.txt' --corpus my-texts --language de",
    ),
    "embed": (
        "sensegrep embed articles.jsonl --corpus my-corpus --dry-run",
        "sensegrep embed texts/a.txt --lines --corpus my-corpus",
    ),
    "stream": (
        "sensegrep stream 'watch:incoming/*.jsonl' --corpus my-corpus --until-idle 2s",
        "sensegrep stream kafka:localhost:9092/articles --corpus my-corpus",
    ),
    "index": (
        "sensegrep index --corpus my-corpus",
        "sensegrep index --corpus my-corpus --max-memory 4G --rebuild",
    ),
    "search": (
        "sensegrep search --corpus my-corpus 'They sat on the [bank] of the river'",
        "sensegrep search --corpus my-corpus --k 5 'a loan from a bank'",
    ),
    "senses": (
        "sensegrep senses --corpus my-corpus bank",
        "sensegrep senses --corpus my-corpus bank --fold-case --at-most 3",
    ),
    "serve": (
        "sensegrep serve --corpus my-corpus",
        "sensegrep serve --corpus my-corpus --host 0.0.0.0 --port 8080",
    ),
    "info": (
        "sensegrep info --corpus my-corpus",
        "sensegrep info --corpus my-corpus --json",
    ),
    "verify": ("sensegrep verify --corpus my-corpus",),
    "delete": (
        "sensegrep delete --corpus my-corpus bank/river/01 bank/river/02",
        "sensegrep delete --corpus my-corpus --ids-from ids.txt --purge",
    ),
    "compact": (
        "sensegrep compact --corpus my-corpus",
        "sensegrep compact --corpus my-corpus --max-documents 10000",
    ),
    "vacuum": (
        "sensegrep vacuum --corpus my-corpus --dry-run",
        "sensegrep vacuum --corpus my-corpus --older-than 12h",
    ),
    "train": (
        "sensegrep train elmo --input text.txt --preset tiny --steps 20 --out my-model",
        "sensegrep train cbow --input text.txt --out my-cbow",
    ),
    "train elmo": (
        "sensegrep train elmo --input text.txt --preset tiny --epochs 1 --out my-tiny",
        "sensegrep train elmo --from en-small --input text.txt --steps 5 --out tuned",
    ),
    "train cbow": ("sensegrep train cbow --input text.txt --dim 64 --min-count 2 --out cbow-64",),
    "train skip-gram": ("sensegrep train skip-gram --input text.txt --out my-skip-gram",),
    "train nnlm": ("sensegrep train nnlm --input text.txt --epochs 1 --out my-nnlm",),
    "train mean": ("sensegrep train mean my-model=1 my-model=3 --out mean",),
    "train senses": ("sensegrep train senses --model my-model --input text.txt",),
    "evaluate": (
        "sensegrep evaluate en-small --data eval",
        "sensegrep evaluate en-small my-model --data eval --markdown table.md",
    ),
}
FIRST_STEPS = """\
sensegrep finds the occurrences of a word in a collection of texts, those of the same sense first.

Type first:
  sensegrep run articles.jsonl --corpus my-corpus
  sensegrep search --corpus my-corpus 'They sat on the [bank] of the river'

articles.jsonl has a JSON object on each line, with a field "text"; .txt, .csv, .tsv and .parquet
are read too.
All commands: sensegrep --help"""


def epilog_of(command: str) -> str:
    """Return the examples of a command as the end of its help."""
    examples = EXAMPLES[command]
    head = "example:" if len(examples) == 1 else "examples:"
    return "\n".join([head, *(f"  {example}" for example in examples)])
