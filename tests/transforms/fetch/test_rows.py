from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.reasons import Reason
from schemas.samples import MediaRole, RawMedia, RawSample
from transforms.fetch import rows as module
from transforms.fetch.records import Evidence, FetchRequest, FetchResult, Refusal
from transforms.fetch.rows import fetch_rows
from transforms.fetch.url_rows import UrlRow


class Echo:
    """Fetches the URL itself as bytes, reading its requests as far ahead as it is let."""

    def __init__(self) -> None:
        self.calls = 0
        self.ahead = 0

    def fetch(self, requests: Iterable[FetchRequest]) -> Iterator[FetchResult]:
        self.calls += 1
        taken = list(requests)
        self.ahead = max(self.ahead, len(taken))
        for request in taken:
            evidence = Evidence(url=request.url)
            if request.url.startswith("bad"):
                refusal = Refusal(Reason.FETCH_FAILED_HTTP, "HTTP 404")
                yield FetchResult(None, refusal, None, evidence)
            else:
                yield FetchResult(request.url.encode(), None, None, evidence)


def row(locator: str, wanted: bool, media: int = 0) -> UrlRow:
    held = (RawMedia(MediaRole.IMAGE, b"x" * media),) if media else ()
    request = FetchRequest(locator) if wanted else None
    return UrlRow(RawSample(locator, media=held), request)


@given(st.lists(st.tuples(st.sampled_from(["good", "bad"]), st.booleans()), max_size=30))
def test_every_row_comes_back_in_order_with_its_own_result(kinds: list[tuple[str, bool]]) -> None:
    wanted = [row(f"{kind}-{n}", one) for n, (kind, one) in enumerate(kinds)]
    found = list(fetch_rows(wanted, Echo()))
    assert [one.sample.locator for one in found] == [one.sample.locator for one in wanted]
    for before, after in zip(wanted, found, strict=True):
        if before.request is None:
            assert after.result is None
        elif before.request.url.startswith("bad"):
            assert after.sample.reason is Reason.FETCH_FAILED_HTTP
        else:
            assert after.sample.media[0].data == before.request.url.encode()


def test_media_that_rows_bring_along_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_BYTES", 1000)
    wanted = [row(f"own-{n}", False, media=400) for n in range(10)] + [row("good", True)]
    fetcher = Echo()
    found = list(fetch_rows(wanted, fetcher))
    assert [one.sample.locator for one in found] == [one.sample.locator for one in wanted]
    assert fetcher.calls > 1
