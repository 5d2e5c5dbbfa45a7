"""Check that data has the promised schema."""

import pyarrow as pa


def check_schema(found: pa.Schema, expected: pa.Schema, place: str) -> None:
    """Check that every expected column is there with its type; extra columns are allowed.

    Args:
      found: the schema of a table or file.
      expected: one of the schemas of `schemas.tables`.
      place: what is being checked, for the message.

    Raises:
      ValueError: naming the place, the column, the type expected and the type found.
    """
    for field in expected:
        index = found.get_field_index(field.name)
        if index < 0:
            raise ValueError(
                f"{place} has no column {field.name!r} (expected {field.type});"
                f" it has {', '.join(found.names) or 'none'}"
            )
        if found.field(index).type != field.type:
            raise ValueError(
                f"column {field.name!r} of {place} has type {found.field(index).type},"
                f" expected {field.type}"
            )


def check_table(table: pa.Table | pa.RecordBatch, expected: pa.Schema, place: str) -> None:
    """Check a table's columns as `check_schema` does, and that no required value is null.

    Raises:
      ValueError: naming the place, the column and what is wrong with it.
    """
    check_schema(table.schema, expected, place)
    for field in expected:
        nulls = table.column(field.name).null_count
        if nulls and not field.nullable:
            raise ValueError(f"column {field.name!r} of {place} has {nulls} nulls, expected none")
