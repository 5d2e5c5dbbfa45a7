"""The version of the installed package, as the command line, manifests and the API give it."""

from importlib import metadata


def version() -> str:
    """Return the version of sensegrep, or a remark if the package is not installed."""
    try:
        return metadata.version("sensegrep")
    except metadata.PackageNotFoundError:
        return "(not installed)"
