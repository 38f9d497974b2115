"""Every hostile path of the tables through every operation that takes one, with the walk of the kernel and with our own."""

import json
import os
import time

import pytest
import trio

import podkit.errors
from podkit._os import make_directory, open_listing, open_read, open_write, remove, rename, stat_path
from podkit.errors import InvalidRuleError, RemoteProtocolError
from podkit.logic import Scope
from podkit.protocol import Permission, PodEventMethod, PodScopeSubDelegated, ScopeRule, check_path, decode_method, encode_method

MINE = "mine"
TYPED = (podkit.errors.ScopeError, FileNotFoundError, FileExistsError)
LOOKING = ("read", "read_bytes", "list", "stat", "floor_read", "floor_list", "floor_stat")
CHANGING = ("write", "write_bytes", "make_directory", "remove", "remove_tree", "rename_from", "rename_to")
CHANGING += ("floor_write", "floor_make_directory", "floor_remove", "floor_rename_from", "floor_rename_to")
ON_LINKS = {name for name in CHANGING if "remove" in name or "rename" in name}
ABSENT = ("read", "read_bytes", "list", "stat", "remove", "remove_tree", "rename_from", "floor_read", "floor_stat", "floor_remove")


async def attempt(ground, op, path, target):
    """Do one operation; answers what was read, if anything."""
    files, place = ground.files, ground.path("w/d/f")
    match op:
        case "read":
            return await files.read_text(path)
        case "read_bytes":
            return (await files.read_bytes(path)).decode()
        case "list":
            return await files.listdir(path)
        case "stat":
            return await files.stat(path)
        case "write":
            return await files.write_text(path, MINE)
        case "write_bytes":
            return await files.write_bytes(path, MINE.encode())
        case "make_directory":
            return await files.make_directory(path)
        case "remove":
            return await files.remove(path)
        case "remove_tree":
            return await files.remove_tree(path)
        case "rename_from":
            return await files.rename(path, target)
        case "rename_to":
            return await files.rename(place, path)
    with ground.floor() as (root, judge):
        return on_the_floor(ground, op, path, target, root, judge)


def on_the_floor(ground, op, path, target, root, judge):
    more = {"cwd": ground.path("w")}
    match op:
        case "floor_read" | "floor_list":
            fd, _place = (open_read if op == "floor_read" else open_listing)(root, path, judge, **more)
            content = os.read(fd, 100).decode() if op == "floor_read" else None
            os.close(fd)
            return content
        case "floor_stat":
            return stat_path(root, path, judge, **more)
        case "floor_write":
            writing = open_write(root, path, judge, size=len(MINE), **more)
            writing.write(MINE.encode())
            return writing.commit()
        case "floor_make_directory":
            return make_directory(root, path, judge, **more)
        case "floor_remove":
            return remove(root, path, judge, **more)
        case "floor_rename_from":
            return rename(root, path, target, judge, **more)
        case "floor_rename_to":
            return rename(root, ground.path("w/d/f"), path, judge, **more)
    raise AssertionError(op)


def operations(row, verdict):
    """What the verdict of a row speaks of besides the row's own operation, which comes first."""
    if verdict == "ABSENT":
        also = ABSENT
    elif row["op"] in ("read", "list") or verdict == "REJECT":
        also = LOOKING + CHANGING
    else:
        also = CHANGING
    if row["id"] in SENSITIVE:
        also = tuple(op for op in also if not op.startswith("floor_"))  # the floor knows no names that mean something
    if row.get("looking"):
        also = tuple(op for op in also if op in LOOKING)
    if row.get("link"):
        also = tuple(op for op in also if op not in ON_LINKS)
    return (row["op"],) if row.get("only") else tuple(dict.fromkeys((row["op"], *also)))


SENSITIVE = {"S130", "S131", "S132", "S133", "S134", "S135", "S136"}


@pytest.mark.proves("I1")
async def test_every_path_gets_its_verdict_from_every_operation(ground, path_row):
    verdict = path_row["required"]["all"]
    for name in path_row.get("dirs", ()):
        os.makedirs(ground.path(name))
    for name in path_row.get("files", ()):
        ground.put(name)
    path = ground.say(path_row["path"], path_row)
    target = ground.say(path_row.get("target", "{D}/w/renamed"))
    if verdict == "ALLOW":
        await check_allowed(ground, path_row, path)
        return
    wanted = getattr(podkit.errors, path_row.get("error", ""), FileNotFoundError)
    before = ground.seen()
    for op in operations(path_row, verdict):
        began = time.thread_time()
        with trio.fail_after(1), pytest.raises(Exception) as caught:  # noqa: PT011 - which one it is is looked at below
            await attempt(ground, op, path, target)
        assert isinstance(caught.value, TYPED), (op, caught.value)
        assert time.thread_time() - began < path_row.get("seconds", 1), op
        if op == path_row["op"]:
            assert type(caught.value) is wanted, (op, caught.value)
        if verdict == "ABSENT":
            assert type(caught.value) is FileNotFoundError, (op, caught.value)
        assert "secret" not in str(caught.value)
        assert ground.seen() == before, op


async def check_allowed(ground, row, path):
    before = ground.seen()
    if "reads" in row or "lists" in row:
        wanted = row.get("reads", row.get("lists"))
        for op in ("list",) if "lists" in row else ("read", "read_bytes", "floor_read", "stat", "floor_stat"):
            began = time.thread_time()
            with trio.fail_after(1):
                found = await attempt(ground, op, path, "")
            assert time.thread_time() - began < row.get("seconds", 1), op
            assert found == wanted or "stat" in op, op
            assert ground.seen() == before, op
        return
    made = ground.say(row["makes"])
    for op in ("write", "floor_write"):
        with trio.fail_after(1):
            await attempt(ground, op, path, "")
        after = ground.seen()
        changed = {name for name in after if after[name] != before.get(name) and len(after[name]) > 4}
        assert changed == {made}, op
        assert set(before) <= set(after), op
        assert ground.get(made) == MINE, op
        if made not in before:
            with trio.fail_after(1):
                await attempt(ground, "remove", path, "")
            assert not os.path.lexists(ground.path(made))


def frame_with(rule):
    """A frame in which somebody tells of a rule."""
    told = PodScopeSubDelegated("a", "b", "memory://b", [ScopeRule("/x", Permission.READ)])
    frame = json.loads(encode_method(PodEventMethod(told)))
    frame["params"]["scope"] = [rule]
    return json.dumps(frame).encode()


def test_a_path_is_a_target_when_it_has_one_spelling_only(ground, lexical_row):
    path = ground.say(lexical_row["path"], lexical_row)
    asked = (
        ground.scope.at,
        ground.scope.explain,
        ground.scope.whole,
        check_path,
        Scope.write,
        lambda path: ScopeRule(path, Permission.READ, recursive=False),
        lambda path: Scope.from_data({"allow": [{"target": path, "permission": "read"}]}),
        lambda path: Scope.from_data(
            {"allow": [{"target": "/", "permission": "read"}], "deny": [{"target": path, "permission": "read"}]}
        ),
    )
    frame = frame_with({"target": path, "permission": "read"})
    if lexical_row["rule"] == "REJECT":
        for ask in asked:
            with pytest.raises(InvalidRuleError):
                ask(path)
        with pytest.raises(RemoteProtocolError):
            decode_method(frame)
        return
    for ask in asked:
        ask(path)
    assert str(ground.scope.at(path)) == lexical_row["at"]
    assert ground.scope.whole(path) <= ground.scope.at(path)
    for asked_for in (Permission.READ, Permission.WRITE):
        assert ground.scope.explain(path, asked=asked_for).allowed == (ground.scope.at(path) >= asked_for)
    assert decode_method(frame).event.scope[0].target == path


def test_a_rule_that_is_not_exactly_a_rule_is_refused_as_data_and_in_a_frame(ground, rule_row):
    text = ground.say(rule_row["given"])
    if rule_row.get("frame") != "ALLOW":
        with pytest.raises(RemoteProtocolError):
            decode_method(frame_with("RULE").replace(b'"RULE"', text.encode()))
    if rule_row.get("data") != "ALLOW":
        with pytest.raises(InvalidRuleError):
            Scope.from_data({"allow": [json.loads(text)]})
