"""Fetching media by URL: safely, politely, and only where consent is not refused.

`fetcher` is the way in. `urls` and `addresses` say where a request may go, `consent` and `sites`
whether it may, `hosts` when; `transport` is the wire; `records` is what comes back, and `ordered`
puts it in order. `url_columns` and `url_rows` read lists; `img2dataset` is the other fetcher.
"""
