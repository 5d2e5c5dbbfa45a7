"""Check the fields of a manifest against the types of its dataclass."""

import dataclasses
import math
import types
from collections.abc import Mapping
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

_WORDS = {int: "an integer", str: "a string", float: "a number", bool: "true or false"}
_LARGEST = 2**63 - 1  # what Arrow and FAISS count with


def check_fields(fields: Mapping[str, Any], kind: type, place: str) -> None:
    """Check the fields of a JSON object; those that `kind` does not know are passed over.

    Args:
      fields: as JSON gives them.
      kind: a dataclass or a TypedDict; its fields may be of str, int, float, bool, literals,
        mappings, lists, tuples, unions with None, other such kinds, and Any. Of
        Annotated[T, shape] the shape is checked.
      place: the file, and the field that the object stands in, for the message.

    Raises:
      ValueError: naming the place, the field, what was found and what was expected.
    """
    required = _required(kind)
    for name, expected in get_type_hints(kind, include_extras=True).items():
        if name in fields:
            _check(fields[name], expected, f"{place}: field {name!r}")
        elif name in required:
            raise ValueError(f"{place}: field {name!r} is missing, expected {_words(expected)}")


def _required(kind: type) -> frozenset[str]:
    if is_typeddict(kind):
        keys: frozenset[str] = kind.__required_keys__  # type: ignore[attr-defined]
        return keys
    return frozenset(
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    )


def _words(expected: Any) -> str:
    """Say what a type is, in the words of JSON."""
    origin, arguments = get_origin(expected), get_args(expected)
    if origin in (Annotated, NotRequired):
        return _words(arguments[-1])
    if origin in (Union, types.UnionType):
        return " or ".join("null" if each is type(None) else _words(each) for each in arguments)
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    if origin in (tuple, list):
        return "a list"
    return _WORDS.get(expected, "a value" if expected is Any else "an object")


def _check(value: Any, expected: Any, place: str) -> None:
    origin, arguments = get_origin(expected), get_args(expected)
    if expected is Any:
        return
    if origin in (Annotated, NotRequired):
        _check(value, arguments[-1], place)
    elif origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return
        [expected] = [argument for argument in arguments if argument is not type(None)]
        _check(value, expected, place)
    elif origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise ValueError(f"{place} is {_shown(value)}, expected {_words(expected)}")
    elif origin in (tuple, list):
        _check_kind(value, list, "a list", place)
        same = origin is list or (len(arguments) == 2 and arguments[1] is Ellipsis)
        if not same and len(value) != len(arguments):
            raise ValueError(f"{place} has {len(value)} values, expected {len(arguments)}")
        for number, item in enumerate(value):
            _check(item, arguments[0 if same else number], f"{place}[{number}]")
    elif origin is not None and issubclass(origin, Mapping):
        _check_kind(value, dict, "an object", place)
        for key, item in value.items():
            _check(item, arguments[1], f"{place}[{key!r}]")
    elif dataclasses.is_dataclass(expected) or is_typeddict(expected):
        _check_kind(value, dict, "an object", place)
        check_fields(value, expected, place)
    elif expected in _WORDS:
        _check_scalar(value, expected, place)


def _check_scalar(value: Any, expected: type, place: str) -> None:
    wrong_number = isinstance(value, bool) and expected is not bool
    if wrong_number or not isinstance(value, (int, float) if expected is float else expected):
        raise ValueError(f"{place} is {_shown(value)}, expected {_WORDS[expected]}")
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise ValueError(f"{place} is {_shown(value)}, expected at most {_LARGEST}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{place} is {value}, expected a finite number")


def _check_kind(value: Any, kind: type, words: str, place: str) -> None:
    if not isinstance(value, kind):
        raise ValueError(f"{place} is {_shown(value)}, expected {words}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
