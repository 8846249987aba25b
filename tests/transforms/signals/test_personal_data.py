import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.signals.personal_data import count_personal_data


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("see https://example.org/a?b=c#d for more", 1),
        ("HTTP://EXAMPLE.ORG and ftp://example.org", 2),
        ("www.example.org/x, www.example.com", 2),
        ("pic at bit.ly/3xYz", 1),
        ("http://例え.jp/パス", 1),
        ("Planet http://www.bcostea.net", 1),
        ("Booking.com hotel", 0),
        ("Great_wall.jpg and/or i.e./e.g.", 0),
        ("http://", 0),
        ("awww.cute", 0),
    ],
)
def test_urls(text: str, urls: int) -> None:
    assert count_personal_data(text) == (urls, 0, 0)


@pytest.mark.parametrize(
    ("text", "emails"),
    [
        ("write to jane.doe+x@mail.example.co.uk.", 1),
        ("a@b.com,c@d.org;mailto:e@f.net", 3),
        ("jörg@münchen.de", 1),
        ("@handle me@here join@@x.com", 0),
        ("name@host.", 0),
    ],
)
def test_emails(text: str, emails: int) -> None:
    assert count_personal_data(text) == (0, emails, 0)


@pytest.mark.parametrize(
    "text",
    [
        "+49 30 1234567",
        "+442079460958",
        "+1 (415) 555-2671",
        "0049 30 1234567",
        "Call 555-123-4567 now!",
        "(555) 123-4567",
        "1-800-555-1234",
        "01 23 45 67 89",
        "(030) 1234567",
        "0171-2345678",
        "Tel.: 1234567",
        "☎ 1234 5678",
        "030/12345678",
        "电话：010 1234 5678",
    ],
)
def test_phone_numbers(text: str) -> None:
    assert count_personal_data(text) == (0, 0, 1)
    assert count_personal_data(f"Studio Müller, {text}, open daily") == (0, 0, 1)


@pytest.mark.parametrize(
    "text",
    [
        "2012-02-26 12:17:24",
        "04.08.2004 12 30 22",
        "08-10-2004 12 30",
        "20051010",
        "1914-1918, 1939-1945",
        "2004 2005 2006 2007",
        "1920x1080",
        "1 000 000 000 km",
        "1,234,567,890",
        "38.8977, -77.0365",
        "3.14159265358979",
        "ISBN 978-3-16-148410-0",
        "Berlin_Cathedral_(28668994926).jpg",
        "IMG_20140312_014138",
        "0000012345",
        "12345678901234567890",
    ],
)
def test_other_numbers_are_no_phone_numbers(text: str) -> None:
    assert count_personal_data(text) == (0, 0, 0)


def test_what_is_within_a_url_is_not_counted_again() -> None:
    assert count_personal_data("https://example.org/?to=a@b.com&tel=+49301234567") == (1, 0, 0)


def test_all_kinds_together() -> None:
    text = "www.studio.example, mail@studio.example or +1 415 555 2671 / 415-555-2672"
    assert count_personal_data(text) == (1, 1, 2)


@given(st.text(st.characters(exclude_categories=[])))
def test_any_string_can_be_counted(text: str) -> None:
    assert all(count >= 0 for count in count_personal_data(text))


@pytest.mark.parametrize(
    "unit",
    ["a", "1", "1 ", "@", "a@", "a.", "a-.", "+", "+1-", "(1", " (  )1", "1111111a", "1234567.",
     "tel 1234567 ", "www.", "http://", "a.com", "com/", "./", "0 1", "0123 4567 89 "],
)  # fmt: skip
@pytest.mark.parametrize("start", ["", "a@", "a@b.", "+", "http://x ", "0"])
def test_a_megabyte_takes_linear_time(unit: str, start: str) -> None:
    text = start + unit * (250_000 // len(unit))
    begin = time.process_time()
    count_personal_data(text)
    # A quadratic pattern takes minutes.
    assert time.process_time() - begin < 2
