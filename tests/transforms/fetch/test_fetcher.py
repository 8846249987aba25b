from __future__ import annotations

import base64
import hashlib
import socket
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from schemas.fetch import Consent, Deadlines, Fetch, Politeness, Retries
from schemas.reasons import Reason
from transforms.fetch.consent import OptOut
from transforms.fetch.fetcher import Fetcher
from transforms.fetch.records import ExpectedHash, FetchRequest, FetchResult

if TYPE_CHECKING:
    from tests.transforms.fetch.conftest import Certificate, HostileServer

CONNECT, TIMEOUT = Reason.FETCH_FAILED_CONNECT, Reason.FETCH_FAILED_TIMEOUT
HTTP, TOO_LARGE = Reason.FETCH_FAILED_HTTP, Reason.FETCH_FAILED_TOO_LARGE
BLOCKED, OPT_OUT = Reason.FETCH_FAILED_BLOCKED_ADDRESS, Reason.FETCH_FAILED_OPT_OUT
BAD, ROBOTS = Reason.FETCH_FAILED_BAD_CONTENT, Reason.FETCH_FAILED_ROBOTS

PERMANENT, TRANSIENT = False, True
HOSTILE: dict[str, tuple[Reason, bool, str]] = {
    "/404": (HTTP, PERMANENT, "HTTP status 404"),
    "/404-huge": (HTTP, PERMANENT, "HTTP status 404"),
    "/410": (HTTP, PERMANENT, "HTTP status 410"),
    "/204": (HTTP, PERMANENT, "HTTP status 204"),
    "/429": (HTTP, TRANSIENT, "HTTP status 429"),
    "/503": (HTTP, TRANSIENT, "HTTP status 503"),
    "/loop": (HTTP, PERMANENT, "more than 5 redirects"),
    "/to-private": (BLOCKED, PERMANENT, "10.0.0.1 is private"),
    "/to-metadata": (BLOCKED, PERMANENT, "metadata"),
    "/to-file": (BLOCKED, PERMANENT, "scheme 'file'"),
    "/to-credentials": (BLOCKED, PERMANENT, "credentials"),
    "/to-nowhere": (HTTP, PERMANENT, "without a Location"),
    "/drip": (TIMEOUT, TRANSIENT, "the answer is not complete in time"),
    "/endless": (TOO_LARGE, PERMANENT, "more than 1048576 bytes"),
    "/silence": (TIMEOUT, TRANSIENT, "the answer is not complete in time"),
    "/reset": (CONNECT, TRANSIENT, "the connection breaks"),
    "/short": (CONNECT, TRANSIENT, "shorter than announced"),
    "/bad-chunks": (CONNECT, TRANSIENT, "malformed"),
    "/cut-chunks": (CONNECT, TRANSIENT, ""),
    "/bomb": (BAD, PERMANENT, "Content-Encoding is 'gzip'"),
    "/gzip": (BAD, PERMANENT, "gzip data"),
    "/html": (BAD, PERMANENT, "Content-Type is 'text/html'"),
    "/html-as-image": (BAD, PERMANENT, "an HTML page"),
    "/empty": (BAD, PERMANENT, "0 bytes"),
    "/tiny": (BAD, PERMANENT, "unknown format"),
    "/large": (TOO_LARGE, PERMANENT, "more than 1048576 bytes"),
    "/flood": (TOO_LARGE, PERMANENT, "of headers"),
    "/one-long-header": (TOO_LARGE, PERMANENT, "headers"),
    "/not-http": (HTTP, PERMANENT, "not HTTP"),
    "/closed": (CONNECT, TRANSIENT, "without an answer"),
    "/noai": (OPT_OUT, PERMANENT, "X-Robots-Tag says 'noai'"),
    "/noai-for-us": (OPT_OUT, PERMANENT, "X-Robots-Tag says 'noai'"),
    "/none": (OPT_OUT, PERMANENT, "X-Robots-Tag says 'none'"),
    "/tdm": (OPT_OUT, PERMANENT, "tdm-reservation is 1"),
    "/noai-redirect": (OPT_OUT, PERMANENT, "X-Robots-Tag says 'noai'"),
}
FRIENDLY = ["/ok.jpg", "/hops", "/chunks", "/early", "/untold", "/noai-for-others", "/500-then-ok"]


def fetch(
    settings: Fetch, *urls: str, names: dict[str, list[str]] | None = None, opt_out: str = ""
) -> list[FetchResult]:
    def lookup(host: str) -> Sequence[str]:
        if names and host in names:
            return names[host]
        raise socket.gaierror(socket.EAI_NONAME, "no such host")

    with Fetcher(settings, OptOut.parse(opt_out.splitlines()), lookup) as fetcher:
        return fetcher.fetch_batch([FetchRequest(url) for url in urls])


def changed(settings: Fetch, **values: object) -> Fetch:
    return Fetch.model_validate({**settings.model_dump(), **values})


def test_every_hostile_answer_ends_in_its_reason_within_the_deadlines(
    server: HostileServer, settings: Fetch
) -> None:
    start = time.monotonic()
    results = fetch(settings, *(server.url(path) for path in HOSTILE))
    assert time.monotonic() - start < 10
    for (path, (reason, transient, error)), result in zip(HOSTILE.items(), results, strict=True):
        assert result.body is None, path
        assert result.refusal is not None, path
        assert result.refusal.reason is reason, (path, result.refusal)
        assert result.refusal.transient is transient, path
        assert error in result.refusal.error, (path, result.refusal)
        assert result.evidence.url == server.url(path)


def test_errors_are_the_same_each_time(server: HostileServer, settings: Fetch) -> None:
    urls = [server.url(path) for path in HOSTILE]
    first, second = (fetch(settings, *urls) for _ in range(2))
    assert [result.refusal for result in first] == [result.refusal for result in second]


def test_good_answers_come_as_they_are(server: HostileServer, settings: Fetch, jpeg: bytes) -> None:
    again = changed(settings, retries=Retries(attempts=2, pause_s=0.05))
    results = fetch(again, *(server.url(path) for path in FRIENDLY))
    for path, result in zip(FRIENDLY, results, strict=True):
        assert result.refusal is None, (path, result.refusal)
        assert result.body == jpeg, path
    evidence = results[FRIENDLY.index("/hops")].evidence
    assert evidence.final_url == server.url("/ok.jpg")
    assert (evidence.status, evidence.http_version) == (200, "1.1")
    assert evidence.received == len(jpeg)
    assert ("content-type", "image/jpeg") in evidence.headers
    assert evidence.fetched_at > 1.7e9
    assert results[FRIENDLY.index("/500-then-ok")].evidence.attempts == 2


def test_what_fetching_cannot_see_is_left_to_decoding(
    server: HostileServer, settings: Fetch, jpeg: bytes
) -> None:
    truncated, longer = fetch(settings, server.url("/truncated.jpg"), server.url("/long"))
    assert truncated.body == jpeg[:200]
    assert longer.body == jpeg[:100]


def test_a_run_asks_as_the_recipe_says_and_keeps_connections(
    server: HostileServer, settings: Fetch
) -> None:
    few = changed(settings, politeness=Politeness(requests_per_s=1e6, burst=1000, connections=2))
    results = fetch(few, *[server.url(f"/ok.jpg?{number}") for number in range(40)])
    assert all(result.body for result in results)
    assert server.hits["/ok.jpg"] == 40
    assert server.connections <= 2
    headers = server.seen[0].headers
    assert headers["user-agent"] == "mixwright (+crawl@example.org)"
    assert headers["accept-encoding"] == "identity"
    assert "cookie" not in headers


def test_repeated_urls_each_have_their_row(server: HostileServer, settings: Fetch) -> None:
    url = server.url("/ok.jpg")
    results = fetch(settings, url, url, server.url("/404"), url)
    assert [result.refusal is None for result in results] == [True, True, False, True]


def test_the_guard_refuses_before_anything_is_sent(server: HostileServer, settings: Fetch) -> None:
    closed = changed(settings, allow_networks=())
    names = {"inside.test": ["127.0.0.1"], "mixed.test": ["127.0.0.1", "8.8.8.8"]}
    urls = [
        server.url("/ok.jpg"),
        server.url("/ok.jpg", "inside.test"),
        server.url("/ok.jpg", "mixed.test"),
        server.url("/ok.jpg", "[::ffff:127.0.0.1]"),
        server.url("/ok.jpg", "2130706433"),
        server.url("/ok.jpg", "0x7f.1"),
        "http://localhost@127.0.0.1/",
        "data:image/gif;base64,R0lGODlhAQABAAAAACw=",
    ]
    results = fetch(closed, *urls, names=names)
    assert [result.refusal and result.refusal.reason for result in results] == [BLOCKED] * len(urls)
    assert server.connections == 0


def test_odd_ports_are_only_for_named_networks(settings: Fetch) -> None:
    (result,) = fetch(settings, "http://8.8.8.8:22/")
    assert result.refusal is not None
    assert result.refusal.error == "port 22 is not in allow_ports"


def test_a_host_that_moves_to_a_private_address_is_refused(
    server: HostileServer, settings: Fetch
) -> None:
    answers = iter([["127.0.0.1"], ["127.0.0.1"], ["10.0.0.1"], ["10.0.0.1"]])
    forgetful = changed(settings, dns_ttl_s=0, consent=Consent(robots=False, tdm=False))
    server.routes["/rebind"] = lambda request: request.answer(
        "302 Found", Location=server.url("/ok.jpg", "rebind.test")
    )
    with Fetcher(forgetful, lookup=lambda host: next(answers)) as fetcher:
        url = server.url("/ok.jpg", "rebind.test")
        (first,) = fetcher.fetch_batch([FetchRequest(url)])
        (second,) = fetcher.fetch_batch([FetchRequest(server.url("/rebind", "rebind.test"))])
    # The name resolves nowhere but in our look-up: what was checked is what was connected to.
    assert first.refusal is None
    assert second.refusal is not None
    assert second.refusal.reason is BLOCKED
    assert "10.0.0.1" in second.refusal.error


def test_names_that_do_not_resolve(settings: Fetch) -> None:
    def lookup(host: str) -> Sequence[str]:
        if host == "slow.test":
            time.sleep(0.5)
        if host == "empty.test":
            return []
        code = socket.EAI_NONAME if host == "gone.test" else socket.EAI_AGAIN
        raise socket.gaierror(code, "")

    hasty = changed(settings, deadlines=Deadlines(dns_s=0.2, total_s=1))
    hosts = ["gone.test", "busy.test", "slow.test", "empty.test"]
    with Fetcher(hasty, lookup=lookup) as fetcher:
        results = fetcher.fetch_batch([FetchRequest(f"http://{host}/a.jpg") for host in hosts])
    told = [result.refusal for result in results if result.refusal]
    assert [refusal.reason for refusal in told] == [Reason.FETCH_FAILED_DNS] * 4
    assert [refusal.transient for refusal in told] == [False, True, True, True]
    assert told[0].error == "host 'gone.test' does not exist"


def test_nothing_listens(settings: Fetch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    (result,) = fetch(settings, f"http://127.0.0.1:{port}/a.jpg")
    assert result.refusal is not None
    assert (result.refusal.reason, result.refusal.transient) == (CONNECT, True)


def test_proxies_of_the_environment_are_not_used(
    server: HostileServer, settings: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://10.0.0.1:3128")
    monkeypatch.setenv("all_proxy", "http://10.0.0.1:3128")
    (result,) = fetch(settings, server.url("/ok.jpg"))
    assert result.refusal is None


def test_certificates_are_checked(
    tls_server: HostileServer, certificate: Certificate, settings: Fetch
) -> None:
    names = {"site.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]}
    site, other = tls_server.url("/ok.jpg", "site.test"), tls_server.url("/ok.jpg", "other.test")
    (unknown,) = fetch(settings, site, names=names)
    assert unknown.refusal is not None
    assert (unknown.refusal.reason, unknown.refusal.transient) == (CONNECT, False)
    assert "certificate" in unknown.refusal.error
    trusting = changed(settings, ca_file=str(certificate.authority))
    known, wrong = fetch(trusting, site, other, names=names)
    assert known.refusal is None
    assert wrong.refusal is not None
    assert "certificate" in wrong.refusal.error


def test_plain_http_at_a_tls_port_breaks(tls_server: HostileServer, settings: Fetch) -> None:
    (result,) = fetch(settings, tls_server.url("/ok.jpg").replace("https", "http"))
    assert result.refusal is not None
    assert result.refusal.reason is CONNECT


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_expected_hashes(
    server: HostileServer, settings: Fetch, jpeg: bytes, algorithm: str
) -> None:
    good = ExpectedHash(algorithm, hashlib.new(algorithm, jpeg).digest())  # type: ignore[arg-type]
    bad = ExpectedHash(algorithm, base64.b64decode("AAAA"))  # type: ignore[arg-type]
    url = server.url("/ok.jpg")
    requests = [FetchRequest(url), FetchRequest(url, good), FetchRequest(url, bad)]
    with Fetcher(settings) as fetcher:
        plain, same, other = fetcher.fetch_batch(requests)
    assert (plain.hash_matches, same.hash_matches) == (None, True)
    assert other.refusal is not None
    assert other.refusal.reason is BAD
    with Fetcher(changed(settings, hash_mismatch="signal")) as fetcher:
        (told,) = fetcher.fetch_batch([FetchRequest(url, bad)])
    assert told.refusal is None
    assert told.hash_matches is False


def test_a_busy_host_is_given_the_pause_that_it_asks_for(
    server: HostileServer, settings: Fetch
) -> None:
    again = changed(settings, retries=Retries(attempts=2, pause_s=0.01))
    start = time.monotonic()
    (result,) = fetch(again, server.url("/429-then-ok"))
    assert result.refusal is None
    assert result.evidence.attempts == 2
    assert time.monotonic() - start >= 1


def test_a_host_that_asks_for_a_long_pause_is_left_for_later(
    server: HostileServer, settings: Fetch
) -> None:
    again = changed(settings, retries=Retries(attempts=3, pause_s=0.01))
    start = time.monotonic()
    with Fetcher(again) as fetcher:
        (first,) = fetcher.fetch_batch([FetchRequest(server.url("/429-long"))])
        (second,) = fetcher.fetch_batch([FetchRequest(server.url("/ok.jpg"))])
    assert time.monotonic() - start < 10
    assert first.refusal is not None
    assert first.refusal.error == "HTTP status 429"
    assert second.refusal is not None
    assert second.refusal.transient
    assert "long pause" in second.refusal.error
    assert server.hits == {"/.well-known/tdmrep.json": 1, "/429-long": 1}


def test_a_failing_host_is_left_alone(server: HostileServer, settings: Fetch) -> None:
    polite = Politeness(requests_per_s=1e6, burst=100, connections=1, breaker_failures=3)
    careful = changed(settings, politeness=polite, consent=Consent(robots=False, tdm=False))
    results = fetch(careful, *[server.url(f"/closed?{number}") for number in range(20)])
    assert server.hits["/closed"] == 3
    assert {result.refusal.reason for result in results if result.refusal} == {CONNECT}
    assert all(result.refusal and result.refusal.transient for result in results)


def test_a_host_is_asked_no_faster_than_its_rate(server: HostileServer, settings: Fetch) -> None:
    polite = Politeness(requests_per_s=20, burst=2, connections=10)
    slow = changed(settings, politeness=polite, consent=Consent(robots=False, tdm=False))
    start = time.monotonic()
    results = fetch(slow, *[server.url("/ok.jpg")] * 10)
    assert all(result.body for result in results)
    assert time.monotonic() - start >= 8 / 20
    assert max(result.evidence.timings.polite for result in results) > 0.3


def test_robots_txt_is_read_once_and_heeded(server: HostileServer, settings: Fetch) -> None:
    server.routes["/robots.txt"] = lambda request: request.answer(
        "200 OK", b"User-agent: *\nDisallow: /refused/\nAllow: /refused/not/\n"
    )
    asking = changed(settings, consent=Consent(tdm=False))
    urls = [server.url("/refused/by-robots.jpg"), server.url("/ok.jpg"), server.url("/refused/x")]
    refused, allowed, also = fetch(asking, *urls)
    assert allowed.refusal is None
    for result in (refused, also):
        assert result.refusal is not None
        assert (result.refusal.reason, result.refusal.transient) == (ROBOTS, False)
    assert server.hits == {"/robots.txt": 1, "/ok.jpg": 1}
    (unasked,) = fetch(settings, urls[0])
    assert unasked.refusal is None


def test_redirects_are_asked_about_too(server: HostileServer, settings: Fetch) -> None:
    server.routes["/robots.txt"] = lambda request: request.answer(
        "200 OK", b"User-agent: mixwright\nDisallow: /ok.jpg"
    )
    (result,) = fetch(changed(settings, consent=Consent(tdm=False)), server.url("/hops"))
    assert result.refusal is not None
    assert result.refusal.reason is ROBOTS
    assert server.hits["/ok.jpg"] == 0


@pytest.mark.parametrize("path", ["/503", "/429"])
def test_a_robots_txt_that_is_out_of_order_forbids_all(
    server: HostileServer, settings: Fetch, path: str
) -> None:
    server.routes["/robots.txt"] = server.routes[path]
    (result,) = fetch(changed(settings, consent=Consent(tdm=False)), server.url("/ok.jpg"))
    assert result.refusal is not None
    assert (result.refusal.reason, result.refusal.transient) == (ROBOTS, True)


def test_robots_txt_is_tried_again(server: HostileServer, settings: Fetch) -> None:
    server.routes["/robots.txt"] = lambda request: request.answer(
        "503 Service Unavailable" if request.number == 1 else "404 Not Found"
    )
    again = changed(settings, consent=Consent(tdm=False), retries=Retries(attempts=2, pause_s=0.01))
    (result,) = fetch(again, server.url("/ok.jpg"))
    assert result.refusal is None


@pytest.mark.parametrize("path", ["/404", "/410", "/html"])
def test_a_robots_txt_that_is_not_there_allows_all(
    server: HostileServer, settings: Fetch, path: str
) -> None:
    server.routes["/robots.txt"] = server.routes[path]
    (result,) = fetch(changed(settings, consent=Consent(tdm=False)), server.url("/ok.jpg"))
    assert result.refusal is None


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/silence", TIMEOUT), ("/closed", CONNECT), ("/to-private", BLOCKED), ("/loop", HTTP)],
)
def test_a_robots_txt_that_cannot_be_read_keeps_us_away(
    server: HostileServer, settings: Fetch, path: str, reason: Reason
) -> None:
    server.routes["/robots.txt"] = server.routes[path]
    (result,) = fetch(changed(settings, consent=Consent(tdm=False)), server.url("/ok.jpg"))
    assert result.refusal is not None
    assert result.refusal.reason is reason
    assert server.hits["/ok.jpg"] == 0


def test_tdmrep_json_reserves(server: HostileServer, settings: Fetch) -> None:
    server.routes["/.well-known/tdmrep.json"] = lambda request: request.answer(
        "200 OK", b'[{"location": "/refused/*", "tdm-reservation": 1}]'
    )
    refused, allowed = fetch(settings, server.url("/refused/by-robots.jpg"), server.url("/ok.jpg"))
    assert allowed.refusal is None
    assert refused.refusal is not None
    assert refused.refusal.reason is OPT_OUT
    free = changed(settings, consent=Consent(robots=False, tdm=False))
    ignored, header = fetch(free, server.url("/refused/by-robots.jpg"), server.url("/tdm"))
    assert (ignored.refusal, header.refusal) == (None, None)


def test_those_who_opted_out_are_not_even_asked(server: HostileServer, settings: Fetch) -> None:
    names = {"a.site.test": ["127.0.0.1"], "b.test": ["127.0.0.1"]}
    urls = [server.url("/ok.jpg", host) for host in ("a.site.test", "b.test")]
    urls += [server.url("/404", "b.test")]
    first, second, third = fetch(
        settings, *urls, names=names, opt_out=f"site.test  # all of it\n{urls[1]}#x\n"
    )
    for result in (first, second):
        assert result.refusal is not None
        assert result.refusal.reason is OPT_OUT
    assert third.refusal is not None
    assert third.refusal.reason is HTTP
    assert server.hits["/ok.jpg"] == 0


def test_results_keep_their_order_whatever_comes_first(
    server: HostileServer, settings: Fetch
) -> None:
    paths = ["/silence", "/ok.jpg", "/drip", "/404"] + ["/ok.jpg"] * 30
    with Fetcher(settings) as fetcher:
        requests = (FetchRequest(server.url(path)) for path in paths)
        results = list(fetcher.fetch(requests, window=8))
    assert [result.evidence.url for result in results] == [server.url(path) for path in paths]
    assert sum(result.refusal is None for result in results) == 31


def test_a_caller_may_stop_early(server: HostileServer, settings: Fetch) -> None:
    with Fetcher(settings) as fetcher:
        results = fetcher.fetch(FetchRequest(server.url("/ok.jpg")) for _ in range(1000))
        assert next(results).refusal is None
        results.close()  # type: ignore[attr-defined]
        (later,) = fetcher.fetch_batch([FetchRequest(server.url("/ok.jpg"))])
    assert later.refusal is None
    assert server.hits["/ok.jpg"] <= 1001


def test_long_lists_pass_through_a_small_window(settings: Fetch) -> None:
    with Fetcher(settings) as fetcher:
        requests = (FetchRequest(f"http://10.0.0.1/{number}") for number in range(3000))
        results = fetcher.fetch(requests, window=64)
        assert sum(result.refusal is not None for result in results) == 3000
