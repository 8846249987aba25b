from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from schemas.fetch import Consent, Fetch
from schemas.sources import HtmlSource, UrlSource, WarcSource


def test_the_safe_side_is_the_default() -> None:
    fetch = Fetch(contact="https://example.org/crawl")
    assert fetch.allow_networks == ()
    assert fetch.allow_ports == (80, 443)
    assert fetch.fetcher == "mixwright"
    consent = fetch.consent
    assert consent.robots
    assert consent.tdm
    assert consent.directives == ("noai", "noimageai", "noindex", "noimageindex")
    assert fetch.user_agent == "mixwright (+https://example.org/crawl)"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contact": "me"}, "neither a mail address nor an http"),
        ({"contact": "a@b.org\r\nX-Evil: 1"}, "neither a mail address nor an http"),
        ({"contact": ""}, "neither a mail address nor an http"),
        ({"product": "mix wright"}, "no product token"),
        ({"product": "x\r\ny"}, "no product token"),
        ({"allow_networks": ["everything"]}, "is no network"),
        ({"allow_networks": ["127.0.0.1/8"]}, "has host bits set"),
        ({"allow_ports": [0]}, "0 is no port"),
        ({"max_redirects": -1}, "greater than or equal to 0"),
        ({"deadlines": {"total_s": 0}}, "greater than 0"),
        ({"politeness": {"requests_per_s": 0}}, "greater than 0"),
        ({"typo": 1}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_make_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Fetch.model_validate({"contact": "a@b.org", **changes})


def test_settings_survive_json() -> None:
    fetch = Fetch(contact="a@b.org", consent=Consent(opt_out=("artists.txt",)))
    assert Fetch.model_validate_json(fetch.model_dump_json()) == fetch


def test_sources() -> None:
    urls = UrlSource(type="urls", name="web", path="lists", texts={"alt": "TEXT"})
    assert urls.layout == "auto"
    assert HtmlSource(type="html", name="site", path="pages").files == "**/*.htm*"
    assert WarcSource(type="warc", name="crawl", path="crawl").files == "**/*.warc*"
    with pytest.raises(ValidationError, match="is not a name"):
        UrlSource(type="urls", name="No Name", path="x")
