import time

import trio
import trio.testing


async def a_moment_in_a_thread() -> float:
    with trio.move_on_after(60):
        await trio.to_thread.run_sync(time.sleep, 0.1)
    return trio.current_time()


at_once = trio.run(a_moment_in_a_thread, clock=trio.testing.MockClock(autojump_threshold=0))
print(f"a tenth of a second became {at_once:.0f} seconds")
assert at_once >= 60  # the deadline had passed before the thread was done

later = trio.run(a_moment_in_a_thread, clock=trio.testing.MockClock(autojump_threshold=5))
print(f"with a threshold above what it takes it became {later:.0f} seconds")
assert later < 60
