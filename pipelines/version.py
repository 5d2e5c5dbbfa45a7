"""The version of the installed package, for the command line, manifests and the API."""

from importlib import metadata


def version() -> str:
    """Return the version of sensegrep, or a remark if the package is not installed."""
    try:
        return metadata.version("sensegrep")
    except metadata.PackageNotFoundError:
        return "(not installed)"
