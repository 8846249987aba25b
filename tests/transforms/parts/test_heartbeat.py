from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from transforms.parts.heartbeat import beat, rows_done


def test_beats_of_many_threads_add_up_by_stage():
    before = rows_done("a stage of this test")
    with ThreadPoolExecutor(8) as pool:
        for _ in range(400):
            pool.submit(beat, "a stage of this test", 3)
    assert rows_done("a stage of this test") - before == 1200
    assert rows_done("another stage of this test") == 0
