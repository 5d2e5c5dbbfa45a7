"""Check the fields of a manifest against the types of its dataclass."""

import types
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

_WORDS = {int: "an integer", str: "a string", float: "a number", bool: "true or false"}


def check_fields(fields: Mapping[str, Any], kind: type, place: str) -> None:
    """Check the fields of a JSON object that are there against a dataclass; others are passed over.

    Args:
      fields: as JSON gives them.
      kind: the dataclass; its fields may be of str, int, float, bool, mappings, tuples, unions,
        other dataclasses, and Any.
      place: the file, and the field that the object stands in, for the message.

    Raises:
      ValueError: naming the place, the field, what was found and what was expected.
    """
    for name, expected in get_type_hints(kind).items():
        if name in fields:
            _check(fields[name], expected, f"{place}: field {name!r}")


def _check(value: Any, expected: Any, place: str) -> None:
    origin, arguments = get_origin(expected), get_args(expected)
    if expected is Any:
        return
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return
        [expected] = [argument for argument in arguments if argument is not type(None)]
        _check(value, expected, place)
    elif origin is tuple:
        _check_kind(value, list, "a list", place)
        same = len(arguments) == 2 and arguments[1] is Ellipsis
        if not same and len(value) != len(arguments):
            raise ValueError(f"{place} has {len(value)} values, expected {len(arguments)}")
        for number, item in enumerate(value):
            _check(item, arguments[0 if same else number], f"{place}[{number}]")
    elif origin is not None and issubclass(origin, Mapping):
        _check_kind(value, dict, "an object", place)
        for key, item in value.items():
            _check(item, arguments[1], f"{place}[{key!r}]")
    elif is_dataclass(expected):
        _check_kind(value, dict, "an object", place)
        check_fields(value, expected, place)  # type: ignore[arg-type]
    elif expected in _WORDS:
        wrong_number = isinstance(value, bool) and expected is not bool
        if wrong_number or not isinstance(value, (int, float) if expected is float else expected):
            raise ValueError(f"{place} is {_shown(value)}, expected {_WORDS[expected]}")


def _check_kind(value: Any, kind: type, words: str, place: str) -> None:
    if not isinstance(value, kind):
        raise ValueError(f"{place} is {_shown(value)}, expected {words}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
