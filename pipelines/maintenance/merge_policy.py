"""Which segments to merge, for whoever commits often: a stream, or a run every night.

Small segments are merged by size, as log-structured stores do: a document is rewritten once at most
for each time that its segment grows by half.
"""

from collections.abc import Iterator, Mapping, Sequence

from schemas import Segment

# Larger segments are left alone, unless many of their documents are deleted.
MAX_DOCUMENTS = 100_000
MAX_DELETED_SHARE = 0.3
# A merge makes a segment at least so many times as large as its largest part.
LEAST_GROWTH = 1.5


def next_merge(segments: Sequence[Segment], deleted: Mapping[str, int], fan_in: int) -> list[str]:
    """Return the segments to merge next; none if all is well.

    A tier is the power of `fan_in` that a segment's documents reach. Of the lowest tier that has
    it, the first run of at least `fan_in` neighbours of that tier or a lower one is merged, unless
    one of them is larger than twice all others together: so a large segment is not rewritten for a
    few small ones. A segment of which over 30 % of the documents are deleted is rewritten alone.

    Worked example, fan-in 3: of segments of 9, 1, 1, 2 documents the last three are merged; then
    nothing is, since there are but two.

    Args:
      segments: live, in order.
      deleted: for each segment that has any the number of its deleted documents.
      fan_in: segments of like size that become one, at least 2.
    """
    return _like_sized(segments, fan_in) or _much_deleted(segments, deleted)


def next_merge_over(
    segments: Sequence[Segment], deleted: Mapping[str, int], limit: int
) -> list[str]:
    """Return the segments to merge next where at most `limit` should stand side by side.

    As `next_merge`, but only when there are more, and then with the largest fan-in from `limit`
    down to 2 that finds something: so a run every night merges seldom, and the limit holds unless
    the segments differ too much in size or are too large.

    Args:
      segments: live, in order.
      deleted: for each segment that has any the number of its deleted documents.
      limit: at least 1.
    """
    if len(segments) > limit:
        for fan_in in range(max(limit, 2), 1, -1):
            if chosen := _like_sized(segments, fan_in):
                return chosen
    return _much_deleted(segments, deleted)


def _like_sized(segments: Sequence[Segment], fan_in: int) -> list[str]:
    tiers = [_tier(segment.counts["documents"], fan_in) for segment in segments]
    for tier in sorted(set(tiers)):
        fitting = [s if own <= tier else None for s, own in zip(segments, tiers, strict=True)]
        for run in _runs(fitting):
            # One more each: a segment of rejects alone costs something too.
            sizes = [segment.counts["documents"] + 1 for segment in run]
            if len(run) >= fan_in and sum(sizes) >= LEAST_GROWTH * max(sizes):
                return [segment.segment_id for segment in run]
    return []


def _much_deleted(segments: Sequence[Segment], deleted: Mapping[str, int]) -> list[str]:
    for segment in segments:
        gone = deleted.get(segment.segment_id, 0)
        if gone > MAX_DELETED_SHARE * max(segment.counts["documents"], 1):
            return [segment.segment_id]
    return []


def _runs(segments: Sequence[Segment | None]) -> Iterator[list[Segment]]:
    """Yield runs of neighbours of one recipe and at most MAX_DOCUMENTS; None parts them."""
    run: list[Segment] = []
    held = 0
    for segment in segments:
        documents = segment.counts["documents"] if segment else 0
        if run and (
            segment is None or segment.recipe != run[0].recipe or held + documents > MAX_DOCUMENTS
        ):
            yield run
            run, held = [], 0
        if segment is not None:
            run.append(segment)
            held += documents
    if run:
        yield run


def _tier(documents: int, fan_in: int) -> int:
    tier, reach = 0, fan_in
    while documents >= reach:
        tier, reach = tier + 1, reach * fan_in
    return tier
