"""Looking: what became of inputs, and what would under other thresholds. It changes nothing."""
