"""Deciding: rules, quantile cuts, keepers and the ledger, as pure functions of columns."""
