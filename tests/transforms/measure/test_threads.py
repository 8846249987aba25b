from __future__ import annotations

import os
import threading

from transforms.measure.threads import available_cores, decoding_pool


def test_a_pool_has_a_thread_for_each_core_unless_it_is_told():
    assert 1 <= available_cores() <= (os.cpu_count() or 1)
    for threads in (0, 3):
        wanted = threads or available_cores()
        meeting = threading.Barrier(wanted)
        with decoding_pool(threads) as pool:
            # All of them have to be there at once for any to go on.
            waits = [pool.submit(meeting.wait, 20) for _ in range(wanted)]
            assert sorted(one.result() for one in waits) == list(range(wanted))
