"""Reads a work directory again, whole, and says of every check what it came to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor

import numpy as np
import numpy.typing as npt

from schemas import layout
from transforms.decisions.cuts import read_cuts
from transforms.decisions.families import read_suppressions
from transforms.measure.threads import decoding_pool
from transforms.parts.tables import list_committed
from transforms.verifying.columns import check_columns
from transforms.verifying.findings import RUN_AGAIN, Check, Finding, Problem, Tally
from transforms.verifying.interleaved import check_interleaved
from transforms.verifying.ledgers import Books, DecidedIntake, check_balance, check_ledgers
from transforms.verifying.manifests import check_manifests
from transforms.verifying.media import check_media
from transforms.verifying.rows import check_rows
from transforms.verifying.series import check_series, scan_series
from transforms.verifying.tars import HELD, ScannedShard
from transforms.work import Intake, Work
