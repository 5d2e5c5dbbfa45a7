"""The parameters of GET routes: one table for parsing requests and for OpenAPI."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.errors import UsageError
from pipelines.search.options import SORTS, SearchOptions, parse_context, parse_filters
from pipelines.serving.problems import MalformedRequest, TooLarge
from pipelines.serving.settings import ServeSettings

Values = Mapping[str, Any]
MAX_POINTS = 5000
MAX_WINDOW = 200
_INT64 = 2**63


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One query parameter.

    Attributes:
      name: in the URL.
      kind: string, integer, number or boolean.
      summary: for readers of the API.
      default: where it is not given; None: nothing.
      required: it must be given.
      repeated: it may be given several times.
      choices: the only strings allowed; empty: any.
      low, high: bounds of a number.
    """

    name: str
    kind: str
    summary: str
    default: Any = None
    required: bool = False
    repeated: bool = False
    choices: tuple[str, ...] = ()
    low: int | None = None
    high: int | None = None

    def schema(self) -> dict[str, Any]:
        """Return the parameter's JSON schema."""
        found: dict[str, Any] = {"type": self.kind}
        if self.choices:
            found["enum"] = list(self.choices)
        if self.low is not None:
            found["minimum"] = self.low
        if self.high is not None:
            found["maximum"] = self.high
        if self.default is not None:
            found["default"] = self.default
        return {"type": "array", "items": found} if self.repeated else found


WORD_FORMS = (
    Parameter(name="fold_case", kind="boolean", summary="take Bank and BANK for bank too"),
    Parameter(name="inflections", kind="boolean", summary="take banks and banking for bank too"),
)
SEARCH = (
    Parameter(
        name="q",
        kind="string",
        summary="a sentence; with one word in [brackets] its occurrences in the same sense come"
        " first, without brackets the most similar sentences",
    ),
    Parameter(
        name="like",
        kind="integer",
        repeated=True,
        low=0,
        high=_INT64 - 1,
        summary="instead of q: vector_id of a line to find more like",
    ),
    Parameter(
        name="unlike",
        kind="integer",
        repeated=True,
        low=0,
        high=_INT64 - 1,
        summary="with like: vector_id of a line to find less like",
    ),
    Parameter(name="k", kind="integer", default=10, low=1, summary="lines to return"),
    *WORD_FORMS,
    Parameter(name="any_word", kind="boolean", summary="search all words, by their vectors alone"),
    Parameter(
        name="filter",
        kind="string",
        repeated=True,
        summary="KEY=VALUE: only documents with this metadata",
    ),
    Parameter(name="sense", kind="integer", low=1, summary="only this sense of the word"),
    Parameter(name="no_senses", kind="boolean", summary="do not tell senses apart"),
    Parameter(name="min_score", kind="number", summary="leave out lower scores"),
    Parameter(
        name="sample", kind="integer", low=1, summary="so many lines at random of the k nearest"
    ),
    Parameter(name="unfold", kind="boolean", summary="show identical sentences one by one"),
    Parameter(
        name="plain_ranking",
        kind="boolean",
        summary="score each occurrence by itself, without the say of those it is near to",
    ),
    Parameter(
        name="seed", kind="integer", default=0, low=0, high=_INT64 - 1, summary="seed of sample"
    ),
    Parameter(
        name="context",
        kind="string",
        default="s",
        summary="tokens to the left and right of the word, such as 5:10, or s: the sentence",
    ),
    Parameter(name="sort", kind="string", default="score", choices=SORTS, summary="order of lines"),
)
SENSES = (
    Parameter(name="word", kind="string", required=True, summary="a word of the corpus"),
    *WORD_FORMS,
)
SENSES_MAP = (
    *SENSES,
    Parameter(
        name="points",
        kind="integer",
        default=1000,
        low=1,
        high=MAX_POINTS,
        summary="occurrences to draw, evenly over the corpus",
    ),
)
DOCUMENT = (
    Parameter(name="doc_id", kind="string", required=True, summary="id of the document"),
    Parameter(
        name="sentence_index",
        kind="integer",
        default=0,
        low=0,
        high=2**31 - 1,
        summary="number of the sentence to show the document around",
    ),
    Parameter(
        name="window",
        kind="integer",
        default=10,
        low=0,
        high=MAX_WINDOW,
        summary="sentences before and after that line",
    ),
)
TOKENS = (
    Parameter(name="q", kind="string", required=True, summary="a sentence, without brackets"),
)


def read_parameters(
    known: Sequence[Parameter], pairs: Sequence[tuple[str, str]], settings: ServeSettings
) -> dict[str, Any]:
    """Read the pairs of a query string; what is not given has its default.

    Raises:
      MalformedRequest: for a name that is not known, a value of another kind, a name given twice
        that may not be, or one that is missing.
      UsageError: for a number outside its bounds.
      TooLarge: for a text with too many characters.
    """
    table = {parameter.name: parameter for parameter in known}
    values: dict[str, Any] = {p.name: [] if p.repeated else p.default for p in known}
    given: set[str] = set()
    for name, text in pairs:
        parameter = table.get(name)
        if parameter is None:
            raise MalformedRequest(
                f"unknown parameter {name!r}; the parameters are {', '.join(table)}"
            )
        value = _read(parameter, text, settings.max_query_chars)
        if parameter.repeated:
            values[name].append(value)
        elif name in given:
            raise MalformedRequest(f"{name} is given twice; give it once")
        else:
            values[name] = value
        given.add(name)
    for parameter in known:
        if parameter.required and parameter.name not in given:
            raise MalformedRequest(f"{parameter.name} is missing: {parameter.summary}")
    return values


def _read(parameter: Parameter, text: str, max_chars: int) -> Any:
    name = parameter.name
    if len(text) > max_chars:
        raise TooLarge(
            f"{name} has {len(text):,} characters, more than the {max_chars:,} that this server"
            " takes (--max-query-chars)"
        )
    if parameter.kind == "string":
        if "\x00" in text:
            raise MalformedRequest(f"{name} holds a NUL character")
        if parameter.choices and text not in parameter.choices:
            raise UsageError(f"{name} is {text!r}; expected one of {', '.join(parameter.choices)}")
        return text
    if parameter.kind == "boolean":
        if text.lower() not in ("true", "false", "1", "0"):
            raise MalformedRequest(f"{name} is {text!r}; write true or false")
        return text.lower() in ("true", "1")
    try:
        number = int(text) if parameter.kind == "integer" else float(text)
    except ValueError:
        kind = "a whole number" if parameter.kind == "integer" else "a number"
        raise MalformedRequest(f"{name} is {text!r}; expected {kind}") from None
    if number != number or number in (float("inf"), float("-inf")):
        raise MalformedRequest(f"{name} is {text!r}; expected a finite number")
    low, high = parameter.low, parameter.high
    if (low is not None and number < low) or (high is not None and number > high):
        bounds = f"{low} or more" if high is None else f"{low} to {high}"
        raise UsageError(f"{name} is {number}; expected {bounds}")
    return number


def search_options(values: Values, settings: ServeSettings) -> SearchOptions:
    """Return the options of a search, checked.

    Raises:
      UsageError: if an option cannot mean anything; or k is beyond the server's limit.
    """
    if values["k"] > settings.max_k:
        raise UsageError(
            f"k is {values['k']}, more than the {settings.max_k} lines that this server returns"
            " (--max-k); ask for fewer"
        )
    left, right = parse_context(values["context"])
    return SearchOptions(
        k=values["k"],
        any_word=bool(values["any_word"]),
        fold_case=bool(values["fold_case"]),
        inflections=bool(values["inflections"]),
        filters=parse_filters(values["filter"]),
        min_score=values["min_score"],
        sense=values["sense"],
        senses=not values["no_senses"],
        left=left,
        right=right,
        sort=values["sort"],
        sample=values["sample"],
        seed=values["seed"],
        unfold=bool(values["unfold"]),
        plain_ranking=bool(values["plain_ranking"]),
    )
