from __future__ import annotations

import hashlib
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset

from schemas.reasons import Reason
from schemas.recipe import Ingest
from schemas.sources import Img2DatasetSource

SCHEMA = pa.schema(
    [
        *(("url", pa.string()), ("caption", pa.string()), ("license", pa.string())),
        *(("key", pa.string()), ("status", pa.string()), ("error_message", pa.string())),
        *(("width", pa.int32()), ("height", pa.int32()), ("original_width", pa.int32())),
        *(("exif", pa.string()), ("sha256", pa.string())),
    ]
)


def row(number: int, data: bytes | None = None, **more):
    return {
        "url": f"http://example.org/{number}.jpg",
        "caption": f"caption {number}",
        "key": f"{number:09}",
        "status": "success",
        "sha256": None if data is None else hashlib.sha256(data).hexdigest(),
        **more,
    }


def tar_of(samples: list[tuple[dict, bytes]]) -> bytes:
    """Returns a tar as img2dataset's writer makes it, in order of completion."""
    sink = io.BytesIO()
    with webdataset.TarWriter(sink) as writer:
        for one, data in samples:
            texts = {"txt": one["caption"]} if one.get("caption") is not None else {}
            described = json.dumps(one, indent=4)
            writer.write({"__key__": one["key"], "jpg": data, **texts, "json": described})
    return sink.getvalue()


@pytest.fixture
def read(tmp_path, read_source):
    def read_shard(rows=None, tar=None, limits=None, schema=SCHEMA):
        if rows is not None:
            table = pa.Table.from_pylist(rows, schema=schema)
            pq.write_table(table, tmp_path / "00000.parquet", row_group_size=100)
        if tar is not None:
            (tmp_path / "00000.tar").write_bytes(tar)
        (tmp_path / "00000_stats.json").write_text("{}")
        source = Img2DatasetSource(name="i", type="img2dataset", path=str(tmp_path))
        found = read_source(source, limits)
        return {sample.locator: sample for sample in found} if len(found) > 1 else found

    return read_shard


def test_rows_and_tar_are_joined_by_key(read, image):
    rows = [row(n, image(n), license="CC0", exif="{}") for n in range(3)]
    found = read(rows, tar_of([(rows[n], image(n)) for n in (2, 0, 1)]))
    assert len(found) == 3
    for number in range(3):
        sample = found[f"http://example.org/{number}.jpg"]
        assert (sample.reason, sample.error, sample.licence) == (None, "", "CC0")
        assert sample.media[0].data == image(number)
        assert [text.text for text in sample.texts] == [f"caption {number}"]
        assert sample.meta["key"] == f"{number:09}"
        assert sample.meta["url"] == sample.locator
        assert sample.meta["status"] == "success"
        assert sample.meta["exif"] == "{}"


def test_failures_carry_their_reason(read, image):
    rows = [
        row(0, image(0)),
        row(1, status="failed_to_download", error_message="HTTP Error 404: Not Found"),
        row(2, status="failed_to_download", error_message="<urlopen error timed out>"),
        row(3, status="failed_to_resize", error_message="Image decoding error"),
        row(4, status="failed_to_download", error_message=None),
    ]
    found = read(rows, tar_of([(rows[0], image(0))]))
    reasons = [found[f"http://example.org/{n}.jpg"].reason for n in range(5)]
    assert reasons == [
        None,
        Reason.FETCH_FAILED_HTTP,
        Reason.FETCH_FAILED_TIMEOUT,
        Reason.FETCH_FAILED_BAD_CONTENT,
        Reason.FETCH_FAILED_CONNECT,
    ]
    failed = found["http://example.org/1.jpg"]
    assert failed.error == "failed_to_download: HTTP Error 404: Not Found"
    assert [text.text for text in failed.texts] == ["caption 1"]
    assert failed.meta["error_message"] == "HTTP Error 404: Not Found"


def test_rows_and_members_without_the_other(read, image):
    rows = [row(0, image(0)), row(1, image(1))]
    extra = row(2, image(2))
    found = read(rows, tar_of([(rows[0], image(0)), (extra, image(2))]))
    assert found["http://example.org/1.jpg"].reason is Reason.MEDIA_MISSING
    alone = found["http://example.org/2.jpg"]
    assert (alone.reason, alone.media[0].data) == (None, image(2))


@pytest.mark.parametrize("algorithm", ["sha256", "md5", "sha1", "sha512"])
def test_hashes_are_verified_where_bytes_are_the_fetched_ones(read, image, algorithm):
    schema = SCHEMA.remove(SCHEMA.get_field_index("sha256")).append(
        pa.field(algorithm, pa.string())
    )
    right = hashlib.new(algorithm, image(0)).hexdigest()
    rows = [
        {**row(n), algorithm: value} for n, value in enumerate([right.upper(), "0" * 64, right])
    ]
    rows[2] |= {"width": 256, "height": 256}
    found = read(rows, tar_of([(one, image(n % 2)) for n, one in enumerate(rows)]), schema=schema)
    first, second, third = (found[f"http://example.org/{n}.jpg"] for n in range(3))
    assert first.reason is None
    assert second.reason is Reason.FETCH_FAILED_BAD_CONTENT
    assert second.error.startswith(f"{algorithm} of the media is ")
    # Encoded anew by img2dataset: the hash is of what was fetched.
    assert third.reason is None


def test_a_shard_without_urls_is_named_by_shard_and_key(read, image):
    schema = SCHEMA.remove(0)
    rows = [{k: v for k, v in row(n, image(n)).items() if k != "url"} for n in range(2)]
    found = read(rows, tar_of([(one, image(n)) for n, one in enumerate(rows)]), schema=schema)
    assert sorted(found) == ["00000/000000000", "00000/000000001"]


def test_a_tar_alone(read, image):
    plain = {"key": "000000001", "caption": "c"}
    found = read(None, tar_of([(row(0), image(0)), (plain, image(1))]))
    assert sorted(found) == ["00000.tar/000000001", "http://example.org/0.jpg"]


def test_a_parquet_alone(read):
    found = read([row(0), row(1, status="failed_to_download", error_message="timed out")])
    assert found["http://example.org/0.jpg"].reason is Reason.MEDIA_MISSING
    assert found["http://example.org/1.jpg"].reason is Reason.FETCH_FAILED_TIMEOUT


def test_media_in_the_rows(read, image):
    schema = SCHEMA.append(pa.field("jpg", pa.binary()))
    rows = [{**row(n, image(n)), "jpg": image(n)} for n in range(2)]
    rows.append(row(2, status="failed_to_download", error_message="timed out"))
    rows.append({**row(3), "jpg": bytes(5000)})
    found = read(rows, schema=schema, limits=Ingest(max_media_bytes=1000))
    assert found["http://example.org/1.jpg"].media[0].data == image(1)
    assert found["http://example.org/2.jpg"].reason is Reason.FETCH_FAILED_TIMEOUT
    assert found["http://example.org/3.jpg"].reason is Reason.MEDIA_TOO_LARGE


def test_a_truncated_tar_and_a_broken_parquet(read, image, tmp_path):
    rows = [row(n, image(n)) for n in range(4)]
    tar = tar_of([(one, image(n)) for n, one in enumerate(rows)])
    found = read(rows, tar[: len(tar) // 2])
    reasons = [found[one["url"]].reason for one in rows]
    assert reasons[0] is None
    assert reasons[-1] is Reason.CONTAINER_TRUNCATED
    assert found["00000.tar"].reason is Reason.CONTAINER_TRUNCATED
    (tmp_path / "00000.parquet").write_bytes(b"PAR1")
    found = read(None, tar)
    assert found["00000.parquet"].reason is Reason.CONTAINER_TRUNCATED
    assert sum(sample.reason is None for sample in found.values()) == 4


def test_order_of_rows_and_members_does_not_matter(read, image):
    rows = [row(n, image(n)) for n in range(5)]
    first = read(rows, tar_of([(one, image(n)) for n, one in enumerate(rows)]))
    again = read(rows[::-1], tar_of([(rows[n], image(n)) for n in (3, 1, 4, 0, 2)]))
    assert first == again


def test_keys_that_come_twice_take_their_rows_in_turn(read, image):
    rows = [row(0, image(0)), {**row(1, image(1)), "key": f"{0:09}"}]
    found = read(rows, tar_of([(rows[0], image(0)), (rows[1], image(1))]))
    assert {url: sample.media[0].data for url, sample in found.items()} == {
        "http://example.org/0.jpg": image(0),
        "http://example.org/1.jpg": image(1),
    }


def test_rows_without_keys_wait_for_nothing(read, image):
    schema = SCHEMA.remove(SCHEMA.get_field_index("key"))
    tar = tar_of([(row(9), image(9))])
    found = read([row(0, image(0))], tar[:2000], schema=schema)
    assert found["http://example.org/0.jpg"].reason is Reason.CONTAINER_TRUNCATED
    assert found["00000.tar"].reason is Reason.CONTAINER_TRUNCATED


def test_other_columns_of_bytes_are_no_media(read, image):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = SCHEMA.append(pa.field("image", kind)).append(pa.field("jpg", kind))
    rows = [{**row(n), "image": {"bytes": b"x"}, "jpg": {"bytes": b"x"}} for n in range(2)]
    found = read(rows, tar_of([(row(0), image(0))]), schema=schema)
    assert found["http://example.org/0.jpg"].media[0].data == image(0)
    assert found["http://example.org/1.jpg"].reason is Reason.MEDIA_MISSING
