"""Fetching media by URL: safely, politely, and only where consent is not refused.

`fetcher` is the way in. `urls` and `addresses` say where a request may go, `consent` whether it
may, `hosts` when; `transport` is the wire; `records` is what comes back.
"""
