"""Search by sense: a query, the occurrences it is compared with, hits, and lines to read."""
