"""The planted bugs: mistakes that systems of this kind have made, in podkit's own code. What must notice them is in each row."""

from planting import Bug, Edit
from planting import function_at as function_at
from planting import plant as plant

_REGISTRY = (
    Bug(
        "P01",
        "a change of the registry truncates the log and writes all of it anew",
        (
            Edit(
                "podkit._store._journal:Journal.append_checked",
                "if self._disk.write(self._fd, line) < length:\n",
                "before = self._disk.pread(self._fd, offset, 0)\n"
                "        self._disk.truncate(self._fd, 0)\n"
                "        if self._disk.write(self._fd, before + line) - len(before) < length:\n",
            ),
        ),
        caught=("disk faults", "simulation on disk 33"),
    ),
    Bug(
        "P02",
        "a registry whose log is empty or missing counts as one in which there are no pods",
        (
            Edit("podkit._store._log_state:LogState._check_new", "if self._holders(()):", "if False:"),
            Edit("podkit._store._log_state:LogState.check_free", "if keys:", "if False:"),
            Edit("podkit._store._log_state:LogState._agree", "if not journal.ended(anchor.sequence, anchor.digest):", "if False:"),
            Edit(
                "podkit._store._log_state:LogState._agree",
                'raise CorruptRegistryError(self.files.path(anchor.generation), "the log is missing") from None',
                "return self._begin(anchor.generation + 1, anchor.epoch)",
            ),
        ),
        caught=("power loss",),
    ),
    Bug(
        "P13",
        "the lock file is replaced by a new one at every change, and nobody looks whether it is still the same",
        (
            Edit(
                "podkit._store._lockfile:LockFile.write_anchor",
                "if self._disk.pwrite(self.fd, data, place * SIZE) != len(data):",
                'fresh = self._disk.open(self.path + ".new", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)\n'
                "    self._disk.pwrite(fresh, self._disk.pread(self.fd, 4096, 0), 0)\n"
                '    self._disk.rename(self.path + ".new", self.path)\n'
                "    os.dup2(fresh, self.fd, inheritable=False)\n"
                "    self._disk.close(fresh)\n"
                "    if self._disk.pwrite(self.fd, data, place * SIZE) != len(data):",
            ),
            Edit("podkit._store._lockfile:LockFile._check_place", "if not same:", "if False:"),
        ),
        caught=("registry contract", "disk faults", "readers"),
    ),
    Bug(
        "P14",
        "the lock is of the process and not of the open file, so that two openings in one program do not keep each other out",
        (
            Edit(
                "podkit._os._disk:Disk.lock",
                "locker.lock(fd, locker.LOCK_EX | locker.LOCK_NB)\n    except locker.AlreadyLocked:",
                "fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)\n    except BlockingIOError:",
            ),
            Edit("podkit._os._disk:Disk.unlock", "locker.unlock(fd)", "fcntl.lockf(fd, fcntl.LOCK_UN, 1)"),
        ),
        caught=("readers",),
    ),
    Bug(
        "P15",
        "the lock goes along into programs that are started, and into forked copies",
        (
            Edit("podkit._store._registry_log:_close_after_fork", "log.close()", "pass"),
            Edit(
                "podkit._store._lockfile:LockFile.open",
                "self.fd, self._id, self._name =",
                "os.set_inheritable(fd, True)\n    self.fd, self._id, self._name =",
            ),
        ),
        caught=("copies",),
    ),
    Bug(
        "P16",
        "who waits for the registry and is cancelled keeps its place",
        (
            Edit(
                "podkit._store._turns:Turns.take",
                "except BaseException:\n        self._inside.release()\n        raise",
                "except BaseException:\n        raise",
            ),
            Edit(
                "podkit._store._file_registry:FileRegistry.transact",
                "    finally:\n        self._log.leave_turn(turn)",
                "    finally:\n"
                "        if not isinstance(__import__('sys').exc_info()[1], trio.Cancelled):\n"
                "            self._log.leave_turn(turn)",
            ),
        ),
        caught=("waiters",),
    ),
)

_SCOPE = (
    Bug(
        "P03",
        "a rule may have `..` in its target",
        (Edit("podkit.protocol._rules:check_path", 'if "/." in path and (', "if False and ("),),
        caught=("attack corpus",),
    ),
    Bug(
        "P04",
        "what begins with the text of a target counts as below it",
        (
            Edit(
                "podkit.logic._scope_fold:Folded.at",
                "    return _NONE\n",
                "    near = [key for key in self.rows if path.startswith(key)]\n"
                "    return self.rows[max(near, key=len)][2] if near else _NONE\n",
            ),
        ),
        caught=("scope model",),
    ),
    Bug(
        "P05",
        "what the parent is denied is forgotten when it hands on",
        (
            Edit(
                "podkit.logic._decisions:decide_birth",
                "check_subset(scope, above.grant)\n    if",
                "check_subset(scope, Scope(allow=above.grant.allow))\n    if",
            ),
            Edit(
                "podkit.logic._decisions:decide_birth",
                "    check_subset(grant, above.grant)\n",
                "    check_subset(grant, Scope(allow=above.grant.allow))\n",
            ),
            Edit(
                "podkit.logic._fold:_lawful_child",
                "return fact.grant <= above.grant and (fact.scope is fact.grant or fact.scope <= above.grant)",
                "return fact.grant <= type(fact.grant)(allow=above.grant.allow)",
            ),
        ),
        caught=("registry model",),
    ),
    Bug(
        "P06",
        "a denied read leaves reading",
        (
            Edit(
                "podkit.logic._scope_fold:fold",
                "_READ if rule.permission is _WRITE else _NONE)",
                "_READ)",
            ),
        ),
        caught=("scope model",),
    ),
    Bug(
        "P07",
        "where nothing is allowed, what is below is not looked at",
        (Edit("podkit.logic._scope_fold:Folded.span", "if first == last:", "if first == last or row == _OUTSIDE:"),),
        caught=("scope model",),
    ),
)

_LIVES = (
    Bug(
        "P08",
        "a pod lives when there is a process with its number, whoever has its lease",
        (
            Edit(
                "podkit.abc._registry:Registry._reclaim",
                "await self.held(row.key)",
                'row.pid is not None and __import__("os").path.exists(f"/proc/{row.pid}")',
            ),
            Edit(
                "podkit.abc._registry:Registry.sweep",
                "not await self.held(row.key)",
                'not (row.pid is not None and __import__("os").path.exists(f"/proc/{row.pid}"))',
            ),
        ),
        caught=("simulation 6", "registry contract"),
    ),
    Bug(
        "P09",
        "a process that ended and was not waited for counts as alive",
        (Edit("podkit._os._pidfd:alive", " and state[0] not in _DEAD", ""),),
        caught=("restores 4",),
    ),
    Bug(
        "P10",
        "a row is adopted by whoever says its name",
        (
            Edit(
                "podkit.logic._decisions:decide_adopt",
                "row = table.get(incarnation)\n",
                "row = next((other for other in table if other.name == name), None)\n"
                "    incarnation = incarnation if row is None else row.incarnation\n",
            ),
            Edit("podkit.logic._decisions:decide_adopt", "if not hmac.compare_digest(", "if False and not hmac.compare_digest("),
        ),
        caught=("simulation 42",),
    ),
    Bug(
        "P11",
        "the scope of a child is back as soon as it was asked to stop",
        (
            Edit(
                "podkit._life._deaths:_end",
                "    await _ask(child)\n",
                "    await _ask(child)\n"
                "        table = child.parent.authority.table\n"
                "        if child.incarnation in table:\n"
                "            await child.parent.authority.transact(\n"
                "                lambda now: decide_free(now, incarnation=child.incarnation, author=child.parent.incarnation)\n"
                "            )\n",
            ),
        ),
        caught=("simulation 0",),
    ),
    Bug(
        "P12",
        "a child that is not ready in time is left alone, and may still come up",
        (Edit("podkit._life._delivery:Delivery._undo", "            process.kill()\n", "            return\n"),),
        caught=("simulation 2", "launcher contract"),
    ),
    Bug(
        "P27",
        "a child that says that it leaves has left",
        (
            Edit(
                "podkit._life._reports:take_report",
                "        ask.answer(reply)\n",
                "        ask.answer(reply)\n"
                '        if type(event).__name__ == "PodShutDown":\n'
                "            from podkit.logic import decide_free\n"
                "            pod.start_soon(\n"
                "                pod.authority.transact,\n"
                "                lambda table: decide_free(table, incarnation=speaker[1], author=pod.incarnation),\n"
                "            )\n",
            ),
        ),
        caught=("simulation 0",),
    ),
    Bug(
        "P29",
        "a message that should wake an idle pod only waits for the next run",
        (Edit("podkit._life._actor:Actor.note", "notice=notice, wake=wake, client", "notice=notice, wake=False, client"),),
        caught=("simulation 1", "promises 0"),
    ),
)

_NET = (
    Bug(
        "P17",
        "what one client did wrong is told to all of them",
        (
            Edit(
                "podkit._net._asks:Asks._answer",
                "            self._reply(event, id)",
                "            if isinstance(event, Error):\n"
                "                self._house.desk.hub.publish(event)\n"
                "            else:\n"
                "                self._reply(event, id)",
            ),
        ),
        caught=("promises 0", "simulation 0"),
    ),
    Bug(
        "P18",
        "the beginning of any turn confirms every method that waits",
        (
            Edit(
                "podkit._net._link:Link._hand_out",
                "    if not [frame",
                "    for frame in said:\n"
                '        if type(frame.event).__name__ == "TurnStart":\n'
                "            from podkit.protocol import Accepted\n"
                "            for name in list(self._waiting):\n"
                "                self._waiting.pop(name)(Accepted(run=frame.event.run))\n"
                "    if not [frame",
            ),
        ),
        caught=("promises 20",),
    ),
    Bug(
        "P19",
        "a cancellation meant for one run hits whichever is under way",
        (
            Edit(
                "podkit._life._actor:Actor.submit",
                "AskCancel(self.replies.open(ask), run=ask.run)",
                "AskCancel(self.replies.open(ask), run=None)",
            ),
            Edit("podkit.logic._lifecycle:_deadline", "or over.run != life.current", ""),
        ),
        caught=("promises 0", "lifecycle model"),
    ),
    Bug(
        "P20",
        "the snapshot is taken first, and the events are subscribed to a moment later",
        (
            Edit(
                "podkit._net._connection:Connection._hello",
                "        desk.hub.subscribe(self._outbox)\n",
                "        trio.lowlevel.current_trio_token().run_sync_soon(desk.hub.subscribe, self._outbox)\n",
            ),
        ),
        caught=("simulation 8",),
    ),
    Bug(
        "P21",
        "who falls behind misses events and is not told",
        (Edit("podkit._net._outbox:Outbox.offer", "        self._overflow()\n", ""),),
        caught=("promises 0",),
    ),
    Bug(
        "P23",
        "the end of a line is sent by itself, after the line",
        (
            Edit(
                "podkit_transports._channel:LineChannel._write",
                "            await self._put(data)\n",
                '            await self._put(data.rstrip(b"\\n"))\n'
                "            await trio.lowlevel.checkpoint()\n"
                '            await self._put(b"\\n")\n',
            ),
            Edit("podkit_transports._channel:LineChannel._write", "self._closed = True\n            self._stream.abort()\n", ""),
        ),
        caught=("transport contract",),
    ),
    Bug(
        "P24",
        "who only reads cuts off what looks unfinished",
        (
            Edit(
                "podkit._store._journal:Journal.catch_up",
                "    return [entry",
                "    if not data.endswith(b'\\n'):\n        self._disk.truncate(self._fd, self.mark.offset)\n    return [entry",
            ),
        ),
        caught=("readers",),
    ),
    Bug(
        "P25",
        "a line ends wherever a text has a line break",
        (
            Edit(
                "podkit.protocol._framing:LineDecoder.feed",
                'bytes(data).split(b"\\n")',
                '[line.encode("utf-8", "surrogateescape") for line in '
                '(bytes(data).decode("utf-8", "surrogateescape") + "|").splitlines()]',
            ),
            Edit("podkit.protocol._framing:LineDecoder.feed", "rest = lines.pop()", "rest = lines.pop()[:-1]"),
        ),
        caught=("wire model", "transport contract"),
    ),
    Bug(
        "P26",
        "a line that is too long is left out and the connection goes on behind it",
        (
            Edit("podkit.protocol._framing:LineDecoder._give_up", "self._overlong = head_of(line)", "pass"),
            Edit("podkit._net._connection:Connection._line", "return _is_text(frame)", "return True"),
        ),
        caught=("wire model", "transport contract"),
    ),
    Bug(
        "P28",
        "a peer that says one thing and leaves at once is not heard, because it did not read what it was sent",
        (Edit("podkit._net._connection:Connection._deaf", "self._end_within(_LAST_WORDS)", "self.cut()"),),
        caught=("promises 0",),
    ),
)

_SESSIONS = (
    Bug(
        "P22",
        "what a session does not take is logged and goes on as if it had",
        (
            Edit(
                "podkit._life._log:SessionLog.append",
                "self._session.append(raw)\n",
                "try:\n"
                "                        self._session.append(raw)\n"
                "                    except SessionError as error:\n"
                '                        __import__("logging").getLogger("podkit").warning("not kept: %s", error)\n',
            ),
        ),
        caught=("sessions 1",),
    ),
    Bug(
        "P30",
        "a call that was under way when its pod died is run again when the pod is restored",
        (
            Edit(
                "podkit._life._pod:Pod.begin",
                "    self.members.meet(self)\n",
                "    self.members.meet(self)\n"
                "        said = [entry['item'] for entry in self.log.data if 'item' in entry]\n"
                "        cut = [item['call_id'] for item in said if 'was not run again' in item.get('summary', '')]\n"
                "        for item in said:\n"
                "            if item['kind'] == 'tool_call' and item['call_id'] in cut:\n"
                "                self.start_soon(self.call_tool, item['name'], __import__('json').loads(item['arguments']))\n",
            ),
        ),
        caught=("sessions 3", "restores 12"),
    ),
)

_RESTORED = (
    Bug(
        "P31",
        "forgets what waited in the queue when the pod is restored",
        (Edit("podkit.logic._restore:restored_life", "        fresh,\n", "        fresh,\n        notices=(),\n"),),
        caught=("restores 1",),
    ),
    Bug(
        "P32",
        "gives no end to a run that was under way when the pod died",
        (Edit("podkit.logic._replay:close_interrupted", "if state.under_way is not None:", "if state.under_way is None:"),),
        caught=("restores 2",),
    ),
    Bug(
        "P33",
        "leaves out the last entry when the log is read back",
        (Edit("podkit._life._log:SessionLog.load", "raws = self._session.entries", "raws = self._session.entries[:-1]"),),
        caught=("restores 1",),
    ),
    Bug(
        "P34",
        "does not start the run that waiting notices ask for when the pod is restored",
        (Edit("podkit._life._pod:Pod.begin", "        self._feed(BackoffOver(WAKE_TIMER))\n", ""),),
        caught=("restores 18",),
    ),
)

BUGS = {bug.id: bug for bug in sorted((*_REGISTRY, *_SCOPE, *_LIVES, *_NET, *_SESSIONS, *_RESTORED), key=lambda bug: bug.id)}
