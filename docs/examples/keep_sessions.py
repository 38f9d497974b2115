import itertools
import tempfile

import trio

from podkit import FileSessionStore, SessionBusyError
from podkit.testing import check_session_store


async def main(directory: str) -> None:
    store = FileSessionStore(f"{directory}/sessions", durability="power")
    async with await store.open("scribe", create="0192-first") as session:
        session.rotate("a", [b'{"kind":"segment_start"}'])  # a first segment, and what it begins with
        session.append([b'{"kind":"invoke"}', b'{"kind":"user_input"}'])  # both or none
        await session.sync()  # now a loss of power leaves them there
        session.save({"scope": ["/srv/app"]})
        try:
            await store.open("scribe")
        except SessionBusyError as error:
            print(error)  # session scribe is being written by process 4711 (keep_sessions.py)

    async with await store.open("scribe") as session:  # whoever comes next, also after a crash
        assert [session.segment, len(session.entries), session.manifest] == ["a", 3, {"scope": ["/srv/app"]}]

    info = await store.peek("scribe")  # by its end alone, whoever holds it and however long it is
    assert (info.segment, info.count) == ("a", 3)
    assert (await store.verify("scribe")).entries == 3  # every record of every segment

    numbers = itertools.count()
    await check_session_store(lambda: FileSessionStore(f"{directory}/{next(numbers)}"))  # or a store of your own


with tempfile.TemporaryDirectory() as directory:
    trio.run(main, directory)
