"""What was kept and dropped, by the language of the text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc

from storage.folders import Folder
from transforms.looking.rows import READS_AT_ONCE
from transforms.parts.tables import PartFile, read_table
from transforms.work import Work

_SIGNAL = "text.language"


def count_languages(work: Work) -> Counter[tuple[str, str]]:
    """Returns rows by (language, `kept` or `dropped`); inputs without a language are under "".

    Raises:
        FileNotFoundError: texts have not been measured, or rows not been decided.
    """
    texts, ledgers = work.local_family("measure/text"), work.ledgers()

    def count(task: tuple[Folder, PartFile]) -> Counter[tuple[str, str]]:
        ledger, file = task
        languages = read_table(texts, file.name, [_SIGNAL])[_SIGNAL]
        decisions = read_table(ledger, file.name, ["decision"])["decision"].cast(pa.string())
        table = pa.table({"language": pc.fill_null(languages, ""), "decision": decisions})
        groups = table.group_by(table.column_names).aggregate([([], "count_all")]).to_pylist()
        return Counter({(one["language"], one["decision"]): one["count_all"] for one in groups})

    tasks: Iterator[tuple[Folder, PartFile]] = (
        (ledgers[intake.name], file) for intake in work.intakes() for file in work.parts(intake)
    )
    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        return sum(pool.map(count, tasks), Counter[tuple[str, str]]())
