"""Whether the owner of media refuses: robots, TDM reservation, lists of who opted out.

Where two voices disagree, the refusal counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import orjson
from protego import Protego

from schemas.fetch import Consent
from transforms.fetch.records import RefusedError
from transforms.fetch.urls import FetchUrl, parse_url

MAX_ROBOTS_BYTES = 500 << 10
"""RFC 9309, section 2.5: at least so much of robots.txt has to be read."""

MAX_TDM_RULES = 10_000

CONSENT_HEADERS = ("x-robots-tag", "tdm-reservation", "tdm-policy")
"""Headers that are kept as evidence, besides `retry-after` and the content type."""

# `unavailable_after: <date>` has commas and colons of its own, and refuses nothing now.
_DATED = re.compile(r"unavailable_after\s*:.*", re.IGNORECASE)
_AGENT = re.compile(r"\s*(\*|[A-Za-z][A-Za-z0-9_-]*)\s*:\s*(.*)", re.DOTALL)
_VALUED = frozenset({"max-snippet", "max-image-preview", "max-video-preview"})


def refuse_headers(headers: Iterable[tuple[str, str]], consent: Consent, product: str) -> str:
    """Returns why the headers of an answer refuse the use of its body; empty where they do not.

    Args:
        headers: names in lower case, with values.
        consent: which refusals count.
        product: our name, for `X-Robots-Tag: <name>: <words>`.
    """
    for name, value in headers:
        if name == "x-robots-tag":
            word = refuse_words(value, consent, product)
            if word:
                return f"X-Robots-Tag says {word!r}"
        elif name == "tdm-reservation" and consent.tdm and value.strip() == "1":
            return "the header tdm-reservation is 1"
    return ""


def refuse_meta(metas: Iterable[tuple[str, str]], consent: Consent, product: str) -> str:
    """Returns why the `<meta>` of a page refuse the use of its images; empty where they do not.

    Args:
        metas: `name` and `content` of each.
        consent: which refusals count.
        product: our name: `<meta name="<product>">` is for us, as `name="robots"` is for all.
    """
    for name, content in metas:
        key = name.strip().lower()
        if key in ("robots", product.lower()):
            word = refuse_words(content, consent, product)
            if word:
                return f"the {key} meta of the page says {word!r}"
        elif key == "tdm-reservation" and consent.tdm and content.strip() == "1":
            return "the tdm-reservation meta of the page is 1"
    return ""


def refuse_words(value: str, consent: Consent, product: str) -> str:
    """Returns the first word of a robots directive that refuses; empty where none does."""
    wanted = {word.lower() for word in consent.directives}
    if "noindex" in wanted:
        wanted.add("none")
    value = _DATED.sub("", value)
    agent = _AGENT.fullmatch(value)
    if agent is not None and agent[1].lower() not in _VALUED:
        if agent[1].lower() not in ("*", product.lower()):
            return ""
        value = agent[2]
    words = (word.strip().lower() for word in value.split(","))
    return next((word for word in words if word in wanted), "")


def parse_robots(body: bytes) -> Protego:
    """Returns the rules of a robots.txt, of which the first `MAX_ROBOTS_BYTES` count (RFC 9309)."""
    return Protego.parse(body[:MAX_ROBOTS_BYTES].decode("utf-8-sig", "replace"))


def parse_tdmrep(body: bytes) -> Protego | None:
    """Returns the places of a host that `/.well-known/tdmrep.json` reserves; None for none.

    Its location patterns are those of robots.txt (TDM Reservation Protocol, W3C community group,
    section 5), so the same matcher takes them, as `Disallow` rules. What is not such a file
    reserves nothing.
    """
    try:
        rules = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(rules, list):
        return None
    reserved = [
        rule["location"].split()[0]
        for rule in rules[:MAX_TDM_RULES]
        if isinstance(rule, dict)
        and str(rule.get("tdm-reservation")) == "1"
        and isinstance(rule.get("location"), str)
        and rule["location"].strip()
    ]
    if not reserved:
        return None
    lines = [f"Disallow: {place.replace('#', '%23')}" for place in reserved]
    return Protego.parse("\n".join(["User-agent: *", *lines]))


@dataclass(frozen=True, slots=True)
class OptOut:
    """Domains and URLs whose owners opted out.

    Attributes:
        domains: host names, IDNA applied; their sub-domains are meant too.
        urls: URLs in the form of `parse_url`.
    """

    domains: frozenset[str] = frozenset()
    urls: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, lines: Iterable[str]) -> OptOut:
        """Reads a list: a domain or a URL per line; `#` starts a comment.

        Raises:
            ValueError: a line is neither; a list that is half understood protects nobody.
        """
        domains: set[str] = set()
        urls: set[str] = set()
        for number, line in enumerate(lines, 1):
            entry = re.sub(r"(^|\s)#.*", "", line).strip()
            if not entry:
                continue
            try:
                if "://" in entry:
                    urls.add(parse_url(entry).text)
                else:
                    domains.add(parse_url(f"http://{entry.removeprefix('*.')}/").host)
            except RefusedError as error:
                raise ValueError(
                    f"opt-out list, line {number}: {entry[:200]!r} is neither a domain nor a URL "
                    f"({error}); correct it, or put '#' before it"
                ) from error
        return cls(frozenset(domains), frozenset(urls))

    def refuse(self, url: FetchUrl) -> str:
        """Returns why a URL is not asked for; empty where nobody opted out."""
        labels = url.host.split(".")
        for start in range(len(labels)):
            domain = ".".join(labels[start:])
            if domain in self.domains:
                return f"{domain} is on the opt-out list"
        return "the URL is on the opt-out list" if url.text in self.urls else ""
