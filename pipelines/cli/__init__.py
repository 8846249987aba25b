"""The command line: thin commands over the stages and the views."""
