"""What crosses a boundary: recipe, tables, signals, reasons, shards. Plain Python, no I/O."""
