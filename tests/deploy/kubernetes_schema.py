"""Check Kubernetes documents on standard input against their schemas; prints what does not fit.

Run by the tests with the Python that has kubernetes-validate; an argument names the jar that holds
Flink's own kinds.
"""

import sys
import zipfile
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

VERSION = "1.34"


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that refuses fields it does not name."""
    schema = {key: closed(value) if isinstance(value, dict) else value
              for key, value in schema.items()}  # fmt: skip
    free = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and not free:
        schema["additionalProperties"] = False
    return schema


def flink_schema(jar: str, document: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of one of Flink's kinds, from the jar of its operator's interface."""
    group, version = document["apiVersion"].split("/")
    name = f"META-INF/fabric8/{document['kind'].lower()}s.{group}-v1.yml"
    with zipfile.ZipFile(jar) as file:
        definition = yaml.safe_load(file.read(name))
    [served] = [v for v in definition["spec"]["versions"] if v["name"] == version]
    schema = closed(served["schema"]["openAPIV3Schema"])
    schema["properties"] |= {"metadata": {}, "apiVersion": {}, "kind": {}}
    return schema


def main(arguments: list[str]) -> None:
    """Print one line for each fault."""
    for document in yaml.safe_load_all(sys.stdin):
        try:
            if document["apiVersion"].startswith("flink"):
                jsonschema.validate(document, flink_schema(arguments[0], document))
            else:
                kubernetes_validate.validate(document, VERSION, strict=True)
        except Exception as error:
            where = document.get("kind"), document.get("metadata", {}).get("name")
            print(*where, type(error).__name__, str(error).replace("\n", " ")[:2000])


if __name__ == "__main__":
    main(sys.argv[1:])
