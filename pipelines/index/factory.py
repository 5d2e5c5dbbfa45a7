"""FAISS factory strings: the kinds of index that can be built, and their size and cost."""

import re
from dataclasses import dataclass

from pipelines.errors import UsageError

# Of k-means; FAISS warns under 39 and uses 256 at most (ClusteringParameters).
CENTROID_ROWS = 40
_FACTORY = re.compile(
    r"(?:OPQ(?P<opq>\d+)(?:_(?P<opq_dim>\d+))?,)?"
    r"(?:IVF(?P<nlist>\d+)(?P<coarse>_HNSW\d+)?,|HNSW(?P<links>\d+)(?:,|$))?"
    r"(?P<codes>Flat|SQfp16|SQ8|PQ(?P<pq>\d+)(?:x(?P<bits>\d+))?(?:fs)?|)"
)


@dataclass(frozen=True, kw_only=True)
class Factory:
    """A FAISS factory string, taken apart once.

    Attributes:
      text: the string as FAISS reads it.
      opq: sub-spaces of the rotation, or None.
      width: of the vectors after the rotation, D without one.
      nlist: inverted lists, or None.
      links: HNSW links per vector, or None.
      code_bytes: of one vector's code.
      centroids: of a product quantizer's parts, 0 without one.
      least_rows: fewer vectors cannot train it: lists, 256 centroids of OPQ, 2^bits of PQ.
      exact: whether its search is exact (Flat or SQfp16 alone).
      rerank: whether codes are so coarse that candidates are scored again in float16.
    """

    text: str
    opq: int | None
    width: int
    nlist: int | None
    links: int | None
    code_bytes: int
    centroids: int
    least_rows: int
    exact: bool
    rerank: bool

    @property
    def row_bytes(self) -> int:
        """Memory for one vector while the index is built: code, id and links, the list chosen."""
        # Level 0 of HNSW holds 2M links of int32; the higher levels add about 1/M of that.
        links = 0 if self.links is None else 8 * self.links + 8 * self.links // 16 + 16
        chosen = 0 if self.nlist is None else 4
        # Lists of fast-scan codes cannot be given room beforehand: they are doubled when full.
        growth = 2 if self.text.endswith("fs") else 1
        return (self.code_bytes + 8) * growth + links + chosen

    @property
    def train_rows(self) -> int:
        """Vectors to train on: CENTROID_ROWS a list, 256 for each of the codes' 256 centroids."""
        return max(CENTROID_ROWS * (self.nlist or 0), 65536) if self.rerank or self.nlist else 0


def parse_factory(text: str, dim: int) -> Factory:
    """Take a factory string apart, and check it against the vectors' width.

    Raises:
      UsageError: for a string that is not of the kinds here, or that does not divide D.
    """
    match = _FACTORY.fullmatch(text.strip())
    if not text.strip() or match is None or text.strip().endswith(","):
        raise UsageError(
            f"--factory {text!r} is not an index that can be built here; give Flat, SQfp16,"
            " HNSW32, HNSW32,SQfp16, IVF1024,SQfp16, IVF1024,PQ32 or OPQ32_128,IVF1024,PQ32"
        )
    group = {key: value for key, value in match.groupdict().items() if value is not None}
    opq, pq = _number(group, "opq"), _number(group, "pq")
    width = _number(group, "opq_dim") or dim
    bits = _number(group, "bits") or 8
    codes = "PQ" if pq else group.get("codes") or "Flat"
    for name, parts in (("OPQ", opq), ("PQ", pq)):
        if parts is not None and (parts < 1 or width % parts):
            raise UsageError(
                f"--factory {text!r}: {name}{parts} must divide the width {width} of the vectors"
            )
    if codes in ("SQ8", "PQ") and not {"nlist", "links"} & group.keys():
        raise UsageError(
            f"--factory {text!r}: compressed codes need lists or a graph before them, such as"
            f" IVF1024,{codes}"
        )
    if width > dim:
        raise UsageError(
            f"--factory {text!r}: OPQ to {width} exceeds the vectors' width {dim}; give OPQ"
            f" to at most {dim}"
        )
    sizes = {"Flat": 4 * width, "SQfp16": 2 * width, "SQ8": width}
    return Factory(
        text=text.strip(),
        opq=opq,
        width=width,
        nlist=_number(group, "nlist"),
        links=_number(group, "links"),
        code_bytes=sizes[codes] if codes in sizes else ((pq or 0) * bits + 7) // 8,
        centroids=2**bits if pq else 0,
        least_rows=max(_number(group, "nlist") or 0, 256 if opq else 0, 2**bits if pq else 0),
        exact=not {"nlist", "links", "opq", "pq"} & group.keys() and codes != "SQ8",
        rerank=codes not in ("Flat", "SQfp16"),
    )


def _number(group: dict[str, str], key: str) -> int | None:
    return int(group[key]) if key in group else None
