"""How records of the input become documents; checked before any work starts."""

from dataclasses import dataclass

from pipelines.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """How records of the input become documents.

    Attributes:
      id_field: the field with the id; None takes `id` where there is one, and otherwise
        the record's place. A field that is named must be there.
      text_field: the field with the text.
      lines: in .txt files each line is a document, instead of each file.
    """

    id_field: str | None = None
    text_field: str = "text"
    lines: bool = False

    def __post_init__(self) -> None:
        if not self.text_field or self.id_field == "":
            raise UsageError("--id-field and --text-field need the name of a field; one is empty")
        if self.id_field == self.text_field:
            raise UsageError(f"--id-field and --text-field are both {self.text_field!r}")
