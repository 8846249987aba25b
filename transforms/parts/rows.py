"""Views on the rows of an ingest part."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc


def first_media(media: pa.ChunkedArray | pa.ListArray) -> pa.StructArray:
    """Returns the first media of each row (`schemas.tables.MEDIA`); null where a row has none."""
    lists = media.combine_chunks() if isinstance(media, pa.ChunkedArray) else media
    starts = pc.if_else(
        pc.greater(pc.list_value_length(lists), 0),
        lists.offsets.slice(0, len(lists)),
        pa.scalar(None, pa.int32()),
    )
    return lists.values.take(starts)
