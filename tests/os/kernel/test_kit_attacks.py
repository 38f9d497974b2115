"""What a confined process cannot get, probe by probe, in each of the ways to be confined, as the superuser and as nobody.

The columns: Landlock alone (what it closes and what it leaves open, as a reminder of why there is more), the kernel level, the
strict level with a root of its own, and the strict level where namespaces are not to be had. Each says what becomes of the probe:
"ok", or the error; "-" is either, where it depends on who asks and nothing hangs on it.
"""

import pytest

FILES = """
K01 write_in_write              ok      ok      ok      ok
K01 make_in_write               ok      ok      ok      ok
K01 read_in_read                ok      ok      ok      ok
K02 write_in_read               EACCES  EACCES  EROFS   EACCES
K02 append_in_read              EACCES  EACCES  EROFS   EACCES
K03 truncate_by_open            EACCES  EACCES  EROFS   EACCES
K03 truncate                    EACCES  EACCES  EROFS   EACCES
K04 read_secret                 EACCES  EACCES  ENOENT  EACCES
K04 read_secret_dotdot          EACCES  EACCES  ENOENT  EACCES
K05 read_by_link                EACCES  EACCES  ENOENT  EACCES
K05 read_by_linked_directory    EACCES  EACCES  ENOENT  EACCES
K05 write_by_dangling_link      EACCES  EACCES  ENOENT  EACCES
K06 list_secret                 EACCES  EACCES  ENOENT  EACCES
K07 read_by_proc_self_root      EACCES  EACCES  ENOENT  EACCES
K07 read_by_proc_parent_root    EACCES  EACCES  ENOENT  EACCES
K08 list_by_new_link            EACCES  EACCES  ENOENT  EACCES
K09 open_in_leaked_directory    EACCES  EACCES  EACCES  EACCES
K12 open_in_received_directory  EACCES  EACCES  EACCES  EACCES
K13 reopen_o_path               EACCES  EACCES  EACCES  EACCES
K14 reopen_for_writing          EACCES  EACCES  EACCES  EACCES
K15 open_after_fchdir           EACCES  EACCES  EACCES  EACCES
K16 stat_secret                 ok      ok      ENOENT  ok
K16 o_path_secret               ok      ok      ENOENT  ok
K17 stat_missing_secret         ENOENT  ENOENT  ENOENT  ENOENT
K18 chmod_secret                ok      ok      ENOENT  EPERM
K18 chown_secret                ok      ok      ENOENT  EPERM
K18 utime_secret                ok      ok      ENOENT  EPERM
K18 xattr_secret                ok      ok      ENOENT  EPERM
K18 chmod_in_read               ok      ok      EROFS   EPERM
K18 utime_in_read               ok      ok      EROFS   EPERM
K18 old_utimes_in_read          ok      ok      EROFS   EPERM
K18 xattr_in_read               ok      ok      EROFS   EPERM
K18 fchmodat2_in_read           ok      ok      EROFS   EPERM
K18 inode_flags_in_read         ok      ok      EROFS   EPERM
K19 fchmod_in_read              ok      ok      EROFS   EPERM
K19 fchmod_leaked               ok      ok      ok      EPERM
--  chmod_in_write              ok      ok      ok      EPERM
K20 link_secret                 EXDEV   EXDEV   ENOENT  EXDEV
K20 link_read                   EXDEV   EXDEV   EXDEV   EXDEV
K21 rename_from_read            EACCES  EACCES  EXDEV   EACCES
K21 rename_to_secret            EACCES  EACCES  ENOENT  EACCES
K21 rename_from_secret          EACCES  EACCES  ENOENT  EACCES
K22 exchange                    EACCES  EACCES  ENOENT  EACCES
K23 rename_in_write             ok      ok      ok      ok
K24 rename_write_itself         EACCES  EACCES  EROFS   EACCES
K25 unlink_secret               EACCES  EACCES  ENOENT  EACCES
K25 rmdir_secret                EACCES  EACCES  ENOENT  EACCES
K25 mkdir_secret                EACCES  EACCES  ENOENT  EACCES
K26 tmpfile_in_secret           EACCES  EACCES  ENOENT  EACCES
K26 tmpfile_linked_into_secret  EXDEV   EXDEV   ENOENT  EXDEV
K27 make_character_device       EACCES  EACCES  EACCES  EACCES
K27 make_block_device           EACCES  EACCES  EACCES  EACCES
K28 make_fifo                   ok      ok      ok      ok
K45 run_in_write                ok      ok      ok      ok
K46 run_secret                  EACCES  EACCES  ENOENT  EACCES
K47 gain_nothing_from_exec      ok      ok      ok      ok
K48 list_tmp                    EACCES  EACCES  EACCES  EACCES
K48 write_tmp                   EACCES  EACCES  EROFS   EACCES
K48 write_shm                   EACCES  EACCES  EROFS   EACCES
K48 open_terminal               EACCES  EACCES  EACCES  EACCES
K48 read_disk                   EACCES  EACCES  ENOENT  EACCES
--  write_null                  ok      ok      ok      ok
--  write_zero_by_rule_only     EACCES  EACCES  EACCES  EACCES
"""

REST = """
K28 bind_path_in_write             ok      EACCES  EACCES  EACCES
K29 bind_path_in_secret            EACCES  EACCES  EACCES  EACCES
K30 mount                          EPERM   EPERM   EPERM   EPERM
K30 bind                           EPERM   EPERM   EPERM   EPERM
K30 umount                         EPERM   EPERM   EPERM   EPERM
K30 mount_in_namespaces            EPERM   EPERM   EPERM   EPERM
K30 pivot                          EPERM   EPERM   EPERM   EPERM
K30 enter_namespace                EPERM   EPERM   EPERM   EPERM
K30 new_user_namespace             ok      ok      EPERM   EPERM
K30 clone_namespace                ok      ok      EPERM   EPERM
--  clone3                         EINVAL  EINVAL  ENOSYS  ENOSYS
K31 chroot                         EPERM   EPERM   EPERM   EPERM
K31 fsopen                         EPERM   EPERM   EPERM   EPERM
K31 open_tree                      EPERM   EPERM   EPERM   EPERM
K33 open_by_handle                 EPERM   EPERM   EPERM   EPERM
K34 connect_path                   ok      EACCES  EACCES  EACCES
K34 connect_path_from_pair         EISCONN EISCONN ENOENT  EISCONN
K34 connect_path_from_packet_pair  EPROTOTYPE EPROTOTYPE ENOENT EPROTOTYPE
K34 vsock                          ok      EACCES  EACCES  EACCES
K35 send_path                      ok      EACCES  EACCES  EACCES
K35 send_path_from_pair            ok      EACCES  EACCES  EACCES
K35 send_path_from_raw_pair        ok      EACCES  EACCES  EACCES
K35 send_path_from_stream_pair     EISCONN EISCONN EISCONN EISCONN
K35 send_path_from_packet_pair     EISCONN EISCONN EISCONN EISCONN
--  stream_pair                    ok      ok      ok      ok
K38 connect_abstract               EPERM   EACCES  EACCES  EACCES
K39 signal_other                   EPERM   EPERM   ESRCH   EPERM
K39 trace_other                    EPERM   EPERM   EPERM   EPERM
K39 read_other_memory              EPERM   EPERM   EPERM   EPERM
K39 take_other_descriptor          EPERM   EPERM   ESRCH   EPERM
K41 read_other_environment         EACCES  EACCES  ENOENT  EACCES
--  trace_oneself                  ok      ok      EPERM   EPERM
K44 priority_of_other              -       -       EPERM   EPERM
K44 priority_of_group              -       -       EPERM   EPERM
K44 affinity_of_other              -       -       ESRCH   EPERM
K44 io_priority_of_other           -       -       EPERM   EPERM
K44 limit_of_other                 -       -       EPERM   EPERM
--  oneself                        ok      ok      ok      ok
K49 memory_file                    ok      ok      ok      ok
K49 ring                           ok      EPERM   EPERM   EPERM
K49 ring_enter                     EBADF   EPERM   EPERM   EPERM
K50 user_fault                     -       -       EPERM   EPERM
K50 perf_event                     -       -       EPERM   EPERM
K50 key                            ok      ok      EPERM   EPERM
K50 load_bpf                       -       -       EPERM   EPERM
K51 tcp_connect                    EACCES  EACCES  ok      EACCES
K51 tcp_bind                       EACCES  EACCES  ok      EACCES
K51 fast_open_option               EACCES  EACCES  ok      EACCES
K51 multipath_connect              -       EACCES  EPROTONOSUPPORT EACCES
K51 fast_open_sendto               ok      EACCES  EOPNOTSUPP EACCES
K51 fast_open_sendmsg              ok      EACCES  EOPNOTSUPP EACCES
K51 fast_open_sendmmsg             ok      EACCES  EOPNOTSUPP EACCES
K51 udp                            ok      EACCES  ok      EACCES
--  netlink                        ok      EACCES  ok      EACCES
--  packet                         -       EACCES  EACCES  EACCES
--  crypto                         -       EACCES  EACCES  EACCES
--  other_architecture             -       ENOSYS  ENOSYS  ENOSYS
--  other_kind_of_call             ENOSYS  ENOSYS  ENOSYS  ENOSYS
--  type_into_terminal             -       EPERM   EPERM   EPERM
--  type_into_terminal_wide        -       EPERM   EPERM   EPERM
--  window_size                    ok      ok      ok      ok
"""


SETUPS = ("landlock", "kernel", "strict network root", "strict attributes")
ROWS = [line.split() for line in (FILES + REST).strip().splitlines() if line]
PROBES = [pytest.param(*row[1:], id="-".join(row[:2]), marks=pytest.mark.proves("I39", *row[: row[0] != "--"])) for row in ROWS]


@pytest.mark.parametrize(("probe", *(setup.replace(" ", "_") for setup in SETUPS)), PROBES)
def test_this_becomes_of(probe, landlock, kernel, strict_network_root, strict_attributes, found, has_namespaces):
    wanted = dict(zip(SETUPS, (landlock, kernel, strict_network_root, strict_attributes), strict=True))
    if not has_namespaces:
        del wanted["strict network root"]
    became = {setup: found(setup)[probe].replace("ENOTSUP", "EOPNOTSUPP") for setup in wanted}  # one number, two names
    assert {setup: became[setup] if outcome == "-" else outcome for setup, outcome in wanted.items()} == became


def test_every_probe_is_in_the_table(found):
    assert {row[1] for row in ROWS} == {*found("kernel")}


@pytest.mark.proves("K34", "K35", "K38")
def test_who_was_given_unix_sockets_has_those_with_a_path_but_no_abstract_ones(found):
    wanted = ("connect_path", "send_path", "send_path_from_pair", "bind_path_in_write", "connect_abstract", "udp", "vsock")
    became = [found("kernel sockets")[probe] for probe in wanted]
    assert became == ["ok", "ok", "ok", "ok", "EPERM", "EACCES", "EACCES"]


@pytest.mark.proves("K51")
def test_who_was_given_the_network_has_it_and_still_no_unix_sockets(found):
    wanted = ("tcp_connect", "tcp_bind", "udp", "netlink", "connect_path", "send_path_from_pair", "vsock", "ring")
    became = [found("kernel network")[probe] for probe in wanted]
    assert became == ["ok", "ok", "ok", "ok", "EACCES", "EACCES", "EACCES", "EPERM"]


@pytest.mark.proves("K31", "K33")
def test_landlock_alone_leaves_a_superuser_with_capabilities_what_it_does_not_cover(found, who):
    became = [found("landlock capable")[probe] for probe in ("chroot", "fsopen", "open_tree", "read_secret", "open_by_handle")]
    if who.uid == 0:
        assert became == ["ok", "ok", "ok", "EACCES", "EACCES"]
    else:
        assert became == ["EPERM", "EPERM", "EPERM", "EACCES", "EPERM"]
