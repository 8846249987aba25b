"""Signals of one sample: what can be measured on its image or its text alone. No thresholds."""
