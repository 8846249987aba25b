"""Pairs out of web pages: images with the texts that a page gives them.

`html` reads one page; `page_folders` and `warc` read the sources that hold pages.
"""
