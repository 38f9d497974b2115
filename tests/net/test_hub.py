"""The stream of one pod, as seen from inside the program."""

import pytest
import trio

from podkit._net import Hub
from podkit.logic import Limits
from podkit.protocol import Alert, AlertLevel, AlertSource, Lagged, Shutdown, Snapshot, TextDelta


def _alert(number):
    return Alert(AlertLevel.WARN, AlertSource.POD, f"alert {number}", number)


class Bad:
    def offer(self, record):
        raise RuntimeError("broken subscriber")

    def hub_closed(self):
        pass


async def test_events_are_numbered_from_one_without_gaps(make_desk):
    hub = make_desk().hub
    assert hub.seq == 0
    assert [hub.publish(TextDelta(str(n))) for n in range(3)] == [1, 2, 3]
    assert hub.seq == 3


async def test_a_view_yields_a_snapshot_and_then_every_event_once_in_order(make_desk, collect):
    desk = make_desk()
    desk.hub.publish(TextDelta("before"))
    async with desk.hub.open_view(desk) as view:
        desk.hub.publish(TextDelta("a"))
        desk.hub.publish(TextDelta("b"))
        with trio.fail_after(2):
            seen = [(await view.receive(), view.seq) for _ in range(3)]
    assert isinstance(seen[0][0], Snapshot)
    assert [seq for _event, seq in seen] == [1, 2, 3]
    assert [event.text for event, _seq in seen[1:]] == ["a", "b"]


async def test_a_waiting_view_is_woken_by_an_event(make_desk, autojump_clock):
    desk = make_desk()
    seen = []
    async with desk.hub.open_view(desk) as view, trio.open_nursery() as nursery:
        await view.receive()

        async def listen():
            seen.append(await view.receive())

        nursery.start_soon(listen)
        await trio.testing.wait_all_tasks_blocked()
        desk.hub.publish(TextDelta("x"))
    assert seen == [TextDelta("x")]


@pytest.mark.proves("F19", "I15")
async def test_a_view_that_falls_behind_gets_lagged_and_a_fresh_snapshot(make_desk):
    desk = make_desk(outbox_events=4)
    async with desk.hub.open_view(desk) as view:
        await view.receive()
        for number in range(9):
            desk.entries.append({"n": number})
            desk.hub.publish(TextDelta(str(number)))
        with trio.fail_after(2):
            assert await view.receive() == Lagged(1, 9)
            snapshot = await view.receive()
            assert isinstance(snapshot, Snapshot)
            assert len(snapshot.entries) == 9
            assert view.seq == 9
            desk.hub.publish(TextDelta("after"))
            assert await view.receive() == TextDelta("after")
            assert view.seq == 10


async def test_a_snapshot_nobody_read_is_replaced_and_nothing_is_missing(make_desk):
    desk = make_desk(outbox_events=4)
    async with desk.hub.open_view(desk) as view:
        for number in range(9):
            desk.entries.append({"n": number})
            desk.hub.publish(TextDelta(str(number)))
        with trio.fail_after(2):
            snapshot = await view.receive()
            assert isinstance(snapshot, Snapshot)
            assert len(snapshot.entries) == 9
            assert view.seq == 9


async def test_views_end_after_what_is_queued_when_the_hub_closes(make_desk):
    desk = make_desk()
    async with desk.hub.open_view(desk) as view:
        desk.hub.publish(TextDelta("last"))
        desk.hub.close()
        desk.hub.close()
        assert desk.hub.publish(TextDelta("too late")) == 1
        with trio.fail_after(2):
            seen = [event async for event in view]
    assert [type(event) for event in seen] == [Snapshot, TextDelta]


async def test_a_view_of_a_closed_hub_is_a_snapshot_and_the_end(make_desk):
    desk = make_desk()
    desk.hub.close()
    async with desk.hub.open_view(desk) as view:
        with trio.fail_after(2):
            assert [type(event) async for event in view] == [Snapshot]


async def test_closing_a_view_wakes_who_waits_and_unsubscribes(make_desk):
    desk = make_desk()
    view = desk.hub.open_view(desk)
    await view.receive()
    with trio.fail_after(2):
        async with trio.open_nursery() as nursery:

            async def listen():
                with pytest.raises(trio.ClosedResourceError):
                    await view.receive()

            nursery.start_soon(listen)
            await trio.testing.wait_all_tasks_blocked()
            await view.aclose()
            await view.aclose()
    assert "0 subscribers" in repr(desk.hub)
    assert "closed" in repr(view)


async def test_a_cancelled_receive_takes_nothing(make_desk):
    desk = make_desk()
    async with desk.hub.open_view(desk) as view:
        await view.receive()
        with trio.CancelScope() as scope:
            scope.cancel()
            desk.hub.publish(TextDelta("kept"))
            await view.receive()
        assert await view.receive() == TextDelta("kept")


async def test_a_failing_subscriber_is_dropped_and_the_others_hear_on(make_desk, caplog):
    desk = make_desk()
    async with desk.hub.open_view(desk) as view:
        bad = Bad()
        desk.hub.subscribe(bad)
        desk.hub.publish(TextDelta("1"))
        desk.hub.publish(TextDelta("2"))
        assert caplog.text.count("a subscriber failed") == 1
        desk.hub.unsubscribe(bad)
        await view.receive()
        assert [(await view.receive()).text for _ in range(2)] == ["1", "2"]


def test_only_the_last_alerts_are_kept_oldest_first():
    hub = Hub(Limits(alerts=3))
    for number in range(5):
        hub.publish(_alert(number))
        hub.publish(TextDelta("no alert"))
    assert [alert.message for alert in hub.alerts] == ["alert 2", "alert 3", "alert 4"]


async def test_the_end_is_missed_by_nobody(make_desk):
    desk = make_desk(outbox_events=4)
    with trio.fail_after(2):
        async with desk.hub.open_view(desk) as behind, desk.hub.open_view(desk) as level:
            await behind.receive()
            for _ in range(3):
                desk.hub.publish(TextDelta("x"))
            for _ in range(4):
                await level.receive()
            for _ in range(4):
                desk.hub.publish(TextDelta("x"))
            desk.hub.publish(Shutdown())
            late = desk.hub.open_view(desk)
            desk.hub.close()
            later = desk.hub.open_view(desk)
            seen = [[(type(event), view.seq) async for event in view] for view in (behind, level, late, later)]
            assert seen[0] == [(Lagged, 0), (Snapshot, 7), (Shutdown, 8)]
            assert seen[1] == [*((TextDelta, seq) for seq in range(4, 8)), (Shutdown, 8)]
            assert seen[2] == seen[3] == [(Snapshot, 7), (Shutdown, 8)]
