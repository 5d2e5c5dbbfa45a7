"""Which shards of an index stay when something is added, and which are merged with it.

A search opens every shard, so there must not be many; but a large shard is not written again for a
small addition. So only small shards are merged, and of those the largest stay too: a row of a
corpus that grows a little every night is written a few times in a year.
"""

from collections.abc import Sequence

# Small shards hold at most half of the most rows. With so many of them, all but the largest are
# merged.
MAX_SMALL_SHARDS = 8
KEPT_SMALL_SHARDS = 3


def staying_shards(rows: Sequence[int], most_rows: int) -> list[int]:
    """Return the places of the shards that stay, in order.

    Args:
      rows: of each shard.
      most_rows: that a shard may have.
    """
    small = [place for place, count in enumerate(rows) if 2 * count <= most_rows]
    if len(small) < MAX_SMALL_SHARDS:
        return list(range(len(rows)))
    merged = set(sorted(small, key=lambda place: rows[place])[:-KEPT_SMALL_SHARDS])
    return [place for place in range(len(rows)) if place not in merged]
