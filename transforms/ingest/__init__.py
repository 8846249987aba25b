"""Taking sources in: what is listed, how it is cut into slices, and the raw samples that they hold.

`inputs` lists, `slices` cuts, `transcode` makes text tables sliceable, `read` reads any slice; the
modules below them know one format each.
"""
