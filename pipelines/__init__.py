"""The routes: one module per stage, `route.py` in order, and the command line."""
