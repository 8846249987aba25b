import pytest

from trainer.corpus import Corpus, Item, Skipped
from trainer.loader.errors import ShardError
from trainer.loader.mixture import open_mixture


def test_every_sample_comes_once_and_in_order(work):
    mixture = open_mixture(str(work), "held_out")
    items = list(Corpus(mixture, 16).items())
    assert [item.sample.locator for item in items] == [str(9000 + n) for n in range(48)]
    assert {item.image.shape for item in items} == {(16, 16, 3)}
    texts = list(Corpus(mixture, None).items())
    assert all(isinstance(item, Item) and item.image is None for item in texts)


def test_a_sample_that_cannot_be_decoded_is_told(tmp_path, write_mixture_of):
    write_mixture_of(tmp_path, "bad", [("a" * 32, {"png": b"no image"}), ("b" * 32, {})])
    items = list(Corpus(open_mixture(str(tmp_path), "bad"), 16).items())
    assert [type(item) for item in items] == [Skipped, Item]
    assert items[0].key == "a" * 32
    assert items[0].defect == "image_unreadable"


def test_an_altered_shard_stops(tmp_path, write_mixture_of):
    write_mixture_of(tmp_path, "altered", [("a" * 32, {}), ("b" * 32, {})])
    tar = next(tmp_path.rglob("*.tar"))
    data = bytearray(tar.read_bytes())
    data[600] ^= 1
    tar.write_bytes(data)
    with pytest.raises(ShardError, match="altered"):
        list(Corpus(open_mixture(str(tmp_path), "altered"), 16).items())
