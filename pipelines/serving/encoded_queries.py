"""A cache of the vectors of queries that came lately.

The page asks the same query again with another sort, filter, sense or number of lines; and of one
query there is one answer, whatever was encoded beside it.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable

from pipelines.search.query_encoder import EncodedQuery

# Of a few kilobytes each.
MAX_QUERIES = 4096


class EncodedQueries:
    """Encodes queries, and keeps what it encoded: the latest ones.

    Args:
      encode: encodes a query that is not kept.
      max_queries: how many are kept.
    """

    def __init__(
        self, encode: Callable[[str], EncodedQuery], max_queries: int = MAX_QUERIES
    ) -> None:
        self._encode, self._max = encode, max_queries
        self._kept: OrderedDict[str, EncodedQuery] = OrderedDict()
        self._lock = threading.Lock()

    def kept(self, query: str) -> EncodedQuery | None:
        """Return a query that needs no model; None if it must be encoded."""
        with self._lock:
            if query in self._kept:
                self._kept.move_to_end(query)
            return self._kept.get(query)

    def __call__(self, query: str) -> EncodedQuery:
        """Return an encoded query.

        Raises:
          UsageError: if it is malformed; that is not kept.
        """
        found = self.kept(query)
        if found is None:
            encoded = self._encode(query)
            with self._lock:
                # Of two that encoded the same query at once, both answer with the first's vectors.
                found = self._kept.setdefault(query, encoded)
                if len(self._kept) > self._max:
                    self._kept.popitem(last=False)
        return found
