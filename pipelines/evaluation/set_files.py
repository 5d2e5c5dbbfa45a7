"""Lines, fields and records of the files of an evaluation set; errors name the place."""

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


def read_text(path: Path) -> str:
    """The whole file as UTF-8; a name that ends in .gz is unpacked."""
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")


def numbered_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Lines with where they stand ("FILE:NUMBER"), blank ones left out.

    Only a line feed ends a line: the sets hold other characters that str.splitlines breaks at.
    """
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            yield f"{path}:{number}", line.removesuffix("\r")


def split_fields(where: str, line: str, at_least: int) -> list[str]:
    """The tab-separated fields of a line."""
    fields = line.split("\t")
    if len(fields) < at_least:
        raise ValueError(
            f"{where}: {len(fields)} tab-separated fields, expected at least {at_least}"
        )
    return fields


def to_number(where: str, value: str) -> float:
    """The number that a field holds."""
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"{where}: {value!r} where a number was expected") from None


def check_record(where: str, value: Any, keys: Iterable[str]) -> dict[str, Any]:
    """The value, if it is a JSON object with these keys."""
    if not isinstance(value, dict):
        raise ValueError(f"{where}: found {type(value).__name__}, expected a JSON object")
    missing = [key for key in keys if key not in value]
    if missing:
        raise ValueError(f"{where}: no field {missing[0]!r}; fields found: {sorted(value)}")
    return value


def json_lines(path: Path, *keys: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """One JSON object a line, with where it stands; each has the keys."""
    for where, line in numbered_lines(path):
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{where}: not JSON: {error}") from error
        yield where, check_record(where, value, keys)


def json_list(path: Path, *keys: str) -> list[dict[str, Any]]:
    """The objects of a JSON list; each has the keys."""
    try:
        values = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    return [check_record(f"{path}: entry {i}", value, keys) for i, value in enumerate(values)]
