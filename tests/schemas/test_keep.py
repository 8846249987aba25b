from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.keep import Between, Compare, Is, IsEmpty, Member, Quantile, Sample, parse_keep


@pytest.mark.parametrize(
    ("text", "keep"),
    [
        ("> 200", Compare(">", 200)),
        (">= 3", Compare(">=", 3)),
        ("< 3", Compare("<", 3)),
        ("<= 20", Compare("<=", 20)),
        ("== 0", Compare("==", 0)),
        ("!= 0", Compare("!=", 0)),
        (">=3", Compare(">=", 3)),
        ("  > 200  ", Compare(">", 200)),
        ("> 1_000_000", Compare(">", 1_000_000)),
        ("> -0.25", Compare(">", -0.25)),
        ("< +2.5e-3", Compare("<", 0.0025)),
        ("between 3 and 20", Between(3, 20)),
        ("between -1.5 and -0.5", Between(-1.5, -0.5)),
        ("between 2 and 2", Between(2, 2)),
        ("in [en, de]", Member(("en", "de"), negate=False)),
        ("in [image/jpeg]", Member(("image/jpeg",), negate=False)),
        ("in ['en', \"de\"]", Member(("en", "de"), negate=False)),
        ("not in [a, b]", Member(("a", "b"), negate=True)),
        ("is true", Is(True)),
        ("is false", Is(False)),
        ("is empty", IsEmpty()),
        ("top 10%", Quantile(highest=True, share=0.1)),
        ("bottom 2.5 %", Quantile(highest=False, share=0.025)),
        ("top 100%", Quantile(highest=True, share=1)),
        ("sample 25%", Sample(0.25)),
    ],
)
def test_every_form_is_understood(text, keep):
    assert parse_keep(text) == keep


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not understood; write one of"),
        ("200", "is not understood"),
        ("> ", "is not understood"),
        ("> many", "is not understood"),
        ("> .5", "is not understood"),
        ("=> 3", "is not understood"),
        ("= 3", "is not understood"),
        ("> 200 px", "is not understood"),
        ("> nan", "is not understood"),
        ("between 3 20", "is not understood"),
        ("between 20 and 3", "20 is above 3; swap them"),
        ("in en, de", "is not understood"),
        ("in []", "an empty entry"),
        ("in [en,]", "an empty entry"),
        ("in [a, [b]]", "is not understood"),
        ("is true or false", "is not understood"),
        ("top 10", "is not understood"),
        ("top -1%", "is not understood"),
        ("top 0%", "above 0 % and at most 100 %"),
        ("bottom 100.5%", "above 0 % and at most 100 %"),
        ("sample 0%", "above 0 % and at most 100 %"),
    ],
)
def test_anything_else_is_refused_with_a_remedy(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        parse_keep(text)
    assert repr(text) in str(caught.value)


@given(st.sampled_from([">", ">=", "<", "<=", "==", "!="]), st.floats(-1e9, 1e9))
def test_a_number_means_what_its_digits_say(operator, number):
    text = f"{number:.6f}"
    assert parse_keep(f"{operator} {text}") == Compare(operator, float(text))


@given(st.text(max_size=40))
def test_no_text_raises_anything_but_a_value_error(text):
    try:
        parse_keep(text)
    except ValueError as error:
        assert "keep = " in str(error)
