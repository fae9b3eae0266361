"""What the machine says of its disks, in the words of the real tools, and what that amounts to."""

from __future__ import annotations

import asyncio
import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_contracts.machine import CameraEvidence
from understudy_contracts.model import CameraState, StorageState
from understudy_recording_server.disk import survey as disks
from understudy_recording_server.disk.btrfs import btrfs_findings, parse_device_stats, parse_error_stats
from understudy_recording_server.disk.findings import MAXIMUM_REASON, Finding, summed_up
from understudy_recording_server.disk.mdstat import array_findings, parse_mdstat
from understudy_recording_server.disk.mounts import Mount, mount_findings, mount_of, parse_mountinfo
from understudy_recording_server.disk.smart import parse_smart, smart_findings
from understudy_recording_server.disk.storage import StorageWatch
from understudy_recording_server.disk.storage_state import (
    Reading,
    reading_findings,
    recorder_findings,
    silence_findings,
)
from understudy_recording_server.disk.survey import read_mount, survey
from understudy_recording_server.disk.zfs import parse_zpool_status, pool_findings

MOUNTINFO = r"""
22 28 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
28 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw,errors=remount-ro
96 28 9:1 / /srv/video rw,noatime shared:47 - xfs /dev/md1 rw,attr2,inode64
97 28 9:1 /old /srv/video/old\040films ro,noatime - xfs /dev/md1 rw,attr2
98 28 8:17 / /mnt/worn rw,relatime shared:50 master:2 - ext4 /dev/sdb1 ro,errors=remount-ro
42 27 7:0 / /mnt/torn rw,relatime - ext4 /dev/loop0 rw,errors=remount-ro,emergency_ro
99 28 0:45 / /tank/video rw,noatime - zfs tank/video rw,xattr,noacl
"""
MDSTAT = """\
Personalities : [raid1] [raid6] [raid5] [raid4] [raid0]
md0 : active raid1 sdb1[1] sda1[0]
      976630464 blocks super 1.2 [2/2] [UU]
      bitmap: 0/8 pages [0KB], 65536KB chunk

md1 : active raid5 sde1[3] sdd1[1](F) sdc1[0]
      1953260544 blocks super 1.2 level 5, 512k chunk, algorithm 2 [3/2] [U_U]
      [==>..................]  recovery = 12.6% (37043392/292945152) finish=127.5min speed=33440K/sec

md2 : inactive sdf1[0](S)
      976630464 blocks super 1.2

md3 : active raid1 sdb3[1](F) sda3[0]
      3068288 blocks [2/2] [U_]

md4 : broken raid0 sdh[1] sdg[0]
      1953260544 blocks super 1.2 512k chunks
unused devices: <none>
"""
DEVICE_STATS = """\
[/dev/sda].write_io_errs    0
[/dev/sda].read_io_errs     0
[/dev/sda].flush_io_errs    0
[/dev/sda].corruption_errs  2
[/dev/sda].generation_errs  0
[/dev/mapper/disk b].write_io_errs    35
[/dev/mapper/disk b].read_io_errs     0
"""
ERROR_STATS = "write_errs 0\nread_errs 3\nflush_errs 0\ncorruption_errs 0\ngeneration_errs 0\n"
ZPOOL_FAULTED_DISK = """\
  pool: zroot
 state: ONLINE
status: One or more devices are faulted in response to persistent errors.
        Sufficient replicas exist for the pool to continue functioning in a
        degraded state.
action: Replace the faulted device, or use 'zpool clear' to mark the device
        repaired.
config:

\tNAME        STATE     READ WRITE CKSUM
\tzroot       ONLINE       0     0     0
\t  mirror-0  ONLINE       0     0     0
\t    ada0p3  FAULTED      4   372     0  too many errors
\t    ada1p3  ONLINE       0     0     0

errors: No known data errors
"""
ZPOOL_UNAVAILABLE = """\
  pool: tank
 state: UNAVAIL
status: One or more devices could not be opened.  There are insufficient
        replicas for the pool to continue functioning.
action: Attach the missing device and online it using 'zpool online'.
  scan: none requested
config:

\tNAME        STATE     READ WRITE CKSUM
\ttank        UNAVAIL      0     0     0  insufficient replicas
\t  sdc       UNAVAIL      0     0     0  cannot open
"""
ZPOOL_CORRUPTED = """\
  pool: tank
 state: ONLINE
status: One or more devices has experienced an error resulting in data
\tcorruption.  Applications may be affected.
action: Restore the file in question if possible.  Otherwise restore the
\tentire pool from backup.
config:

\tNAME        STATE     READ WRITE CKSUM
\ttank        ONLINE       0     0     0
\t  sdc       ONLINE       0     0     6

errors: 3 data errors, use '-v' for a list
"""
SMART_ATA = b"""{"json_format_version":[1,0],"smartctl":{"version":[7,3],"exit_status":8},
"device":{"name":"/dev/sda","info_name":"/dev/sda [SAT]","type":"sat","protocol":"ATA"},
"smart_status":{"passed":false},"ata_smart_attributes":{"revision":16,"table":[
{"id":5,"name":"Reallocated_Sector_Ct","value":100,"raw":{"value":12,"string":"12"}},
{"id":197,"name":"Current_Pending_Sector","value":100,"raw":{"value":8,"string":"8"}},
{"id":198,"name":"Offline_Uncorrectable","value":100,"raw":{"value":0,"string":"0"}}]}}"""
SMART_NVME = b"""{"smart_status":{"passed":false,"nvme":{"value":9}},"nvme_smart_health_information_log":
{"critical_warning":9,"temperature":36,"available_spare":4,"available_spare_threshold":10,"media_errors":0}}"""


def states(findings: list[Finding]) -> list[str]:
    return [str(finding.state) for finding in findings]


def test_the_mount_of_a_folder_is_the_deepest_one():
    mounts = parse_mountinfo(MOUNTINFO)
    assert len(mounts) == 7
    found = mount_of("/srv/video/recordings/cam-1", mounts)
    assert found is not None
    assert (found.device, found.kind, found.source) == ("9:1", "xfs", "/dev/md1")
    assert mount_findings(found) == []
    old = mount_of("/srv/video/old films", mounts)
    assert mount_findings(old) == [Finding(StorageState.DAMAGED, "/srv/video/old films is mounted read-only")]
    assert mount_findings(mount_of("/mnt/worn/x", mounts)) != []
    assert mount_findings(mount_of("/mnt/torn", mounts)) != []
    assert mount_findings(mount_of("/srv/videos", mounts)) == []
    assert mount_findings(None) == []


def test_software_raid():
    arrays = parse_mdstat(MDSTAT)
    assert [(array.name, array.wanted, array.working) for array in arrays] == [
        ("md0", 2, 2), ("md1", 3, 2), ("md2", 0, 0), ("md3", 2, 1), ("md4", 0, 0),
    ]  # fmt: skip
    everything = frozenset(array.name for array in arrays)
    reasons = {finding.reason: finding.state for finding in array_findings(arrays, everything)}
    assert reasons == {
        "RAID array md1 has 2 of 3 disks (sdd1 failed), recovery 12.6 %": StorageState.DEGRADED,
        "RAID array md2 is inactive": StorageState.DAMAGED,
        "RAID array md3 has 1 of 2 disks (sdb3 failed)": StorageState.DEGRADED,
        "RAID array md4 is broken": StorageState.DAMAGED,
    }
    # Arrays that the data folder is not on are somebody else's.
    assert array_findings(arrays, frozenset({"md0", "sda"})) == []
    assert parse_mdstat("Personalities : \nunused devices: <none>\n") == []


def test_btrfs_counters():
    counters = parse_device_stats(DEVICE_STATS)
    assert counters["/dev/sda"]["corruption"] == 2
    findings = btrfs_findings({**counters, "disk 1": parse_error_stats(ERROR_STATS)}, ["3"])
    assert states(findings) == ["degraded"] * 4
    text = summed_up(findings)[1]
    for word in ("misses its disk 3", "/dev/sda: 2 corruption", "disk b: 35 write", "disk 1: 3 read"):
        assert word in text
    assert btrfs_findings({"disk 1": {"write": 0}}, []) == []


def test_zfs_pools():
    findings = pool_findings(parse_zpool_status(ZPOOL_FAULTED_DISK), "zroot")
    assert findings == [Finding(StorageState.DEGRADED, "ZFS pool zroot is online: ada0p3 faulted")]
    findings = pool_findings(parse_zpool_status(ZPOOL_UNAVAILABLE), "tank")
    assert findings == [Finding(StorageState.DAMAGED, "ZFS pool tank is unavail: sdc unavail")]
    # As ZFS on Linux writes it, with tabs.
    [finding] = pool_findings(parse_zpool_status(ZPOOL_CORRUPTED), "tank")
    assert finding.state is StorageState.DEGRADED
    assert finding.reason.endswith("an error resulting in data corruption")
    assert pool_findings(parse_zpool_status(ZPOOL_UNAVAILABLE), "zroot") == []
    for healthy in ("all pools are healthy\n", "pool 'tank' is healthy\n", "no pools available\n", ""):
        assert parse_zpool_status(healthy) == []


def test_what_a_disk_says_of_itself():
    findings = smart_findings("sda", parse_smart(SMART_ATA))
    assert states(findings) == ["degraded", "degraded"]
    assert "failing" in findings[0].reason
    assert "8 sectors" in findings[1].reason
    findings = smart_findings("nvme0n1", parse_smart(SMART_NVME))
    assert states(findings) == ["damaged", "degraded", "degraded"]
    assert smart_findings("sda", parse_smart(b'{"smart_status":{"passed":true}}')) == []


@given(st.text() | st.sampled_from([MDSTAT, MOUNTINFO, DEVICE_STATS, ZPOOL_UNAVAILABLE]), st.integers(0, 400))
def test_no_text_upsets_a_parser(text, cut):
    text = text[:cut]
    array_findings(parse_mdstat(text), frozenset({"md1"}))
    mount_of("/srv/video", parse_mountinfo(text))
    btrfs_findings(parse_device_stats(text), [])
    pool_findings(parse_zpool_status(text), "tank")
    parse_error_stats(text)
    assert smart_findings("sda", parse_smart(text.encode("utf-8", "surrogatepass"))) == []


def test_this_machine_can_be_asked(tmp_path):
    mount = read_mount(tmp_path)
    assert mount is not None
    assert not mount.read_only
    assert all(finding.reason for finding in survey([tmp_path]))


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Writes a program that prints this instead of the machine's own tool."""

    def add(name: str, says: bytes) -> None:
        (tmp_path / f"{name}.out").write_bytes(says)
        (tmp_path / name).write_text(f"#!/bin/sh\nexec /bin/cat {tmp_path / name}.out\n")
        (tmp_path / name).chmod(0o755)

    monkeypatch.setattr(disks, "_SYSTEM_FOLDERS", str(tmp_path))
    return add


def test_a_tool_that_does_not_speak_utf_8_is_understood(tmp_path, tools, monkeypatch):
    # A disk is named in the encoding of whoever named it; one such answer ended the survey for good.
    says = ZPOOL_UNAVAILABLE.replace("sdc ", "plåt").encode("latin-1")
    tools("zpool", says)
    tools("btrfs", "[/dev/mapper/plåt].write_io_errs 35\n".encode("latin-1"))
    for kind, word in {"zfs": "tank is unavail", "btrfs": "35 write"}.items():
        mount = Mount("0:45", str(tmp_path), kind, "tank/video", read_only=False)
        monkeypatch.setattr(disks, "read_mount", lambda _, mount=mount: mount)
        assert [word in finding.reason for finding in survey([tmp_path])] == [True]


def test_every_disk_that_holds_footage_is_surveyed(tmp_path, tools, monkeypatch):
    tools("zpool", ZPOOL_UNAVAILABLE.encode())
    mounts = {
        "data": Mount("8:1", "/", "ext4", "/dev/none", read_only=False),
        "recordings": Mount("0:45", "/r", "zfs", "tank/video", read_only=False),
        "incoming": Mount("0:45", "/r", "zfs", "tank/video", read_only=False),
    }
    monkeypatch.setattr(disks, "read_mount", lambda folder: mounts[folder.name])
    findings = survey([tmp_path / name for name in mounts])
    assert findings == [Finding(StorageState.DAMAGED, "ZFS pool tank is unavail: sdc unavail")]


@pytest.mark.parametrize(
    ("reading", "expected", "word"),
    [
        (Reading(10**12, 10**11), StorageState.NORMAL, ""),
        (Reading(10**12, 10**8), StorageState.FULL, "100.0 MB of 1.0 TB are free"),
        (Reading(10**6, 10**5), StorageState.NORMAL, ""),
        (Reading(10**6, 10**4), StorageState.FULL, "full"),
        (Reading(10**12, 10**11, 3), StorageState.FULL, "3 more files"),
        (Reading(10**12, 10**11, took_s=3.0), StorageState.DEGRADED, "took 3.0 s"),
        (Reading(10**12, 10**11, errno=errno.ENOSPC), StorageState.FULL, "full"),
        (Reading(10**12, 10**11, errno=errno.EDQUOT), StorageState.FULL, "full"),
        (Reading(10**12, 10**11, errno=errno.EIO), StorageState.DAMAGED, "errors"),
        (Reading(10**12, 10**11, errno=errno.EROFS), StorageState.DAMAGED, "read-only"),
        (Reading(errno=errno.ENOENT), StorageState.DAMAGED, "gone"),
        (Reading(10**12, 10**11, errno=errno.EACCES), StorageState.DAMAGED, "Permission denied"),
        (Reading(10**12, 10**11, moved=True), StorageState.DAMAGED, "unmounted"),
    ],
)
def test_what_a_reading_of_the_disk_means(reading, expected, word):
    state, reason = summed_up(reading_findings(reading))
    assert state is expected
    assert word in reason
    assert bool(reason) == (expected is not StorageState.NORMAL)


@pytest.mark.parametrize(
    ("waited", "expected"), [(1, []), (4, ["degraded"]), (9.9, ["degraded"]), (10, ["damaged"])]
)
def test_a_disk_that_does_not_answer(waited, expected):
    assert states(silence_findings(waited)) == expected


def camera(state: CameraState, reason: str = "") -> CameraEvidence:
    return CameraEvidence("cam-1", state, reason=reason)


def test_what_the_recorder_sees_counts():
    good = camera(CameraState.RECORDING)
    away = camera(CameraState.RECONNECTING, "the camera has stalled")
    broken = camera(CameraState.FAILED, f"cannot write: {os.strerror(errno.EIO)}")
    no_room = camera(CameraState.FAILED, f"cannot write: {os.strerror(errno.ENOSPC)}")
    other = camera(CameraState.FAILED, "no such codec")
    assert recorder_findings([good, away, other]) == []
    assert states(recorder_findings([good, broken, away])) == ["degraded"]
    assert states(recorder_findings([broken, away])) == ["damaged"]
    assert states(recorder_findings([no_room, good])) == ["full"]
    assert (
        "1 of 2 cameras cannot be written: Input/output error" in recorder_findings([good, broken])[0].reason
    )


@given(st.lists(st.builds(Finding, st.sampled_from(list(StorageState)), st.text(max_size=300))))
def test_the_worst_comes_first_and_the_reason_is_bounded(findings):
    state, reason = summed_up(findings)
    order = [StorageState.DAMAGED, StorageState.FULL, StorageState.DEGRADED, StorageState.NORMAL]
    assert state == min((finding.state for finding in findings), key=order.index, default=StorageState.NORMAL)
    assert len(reason) <= MAXIMUM_REASON


async def test_a_vanished_folder_is_a_damaged_disk(tmp_path):
    changes: list[StorageState] = []
    folder = tmp_path / "data"
    folder.mkdir()
    watch = StorageWatch([folder], lambda: changes.append(watch.storage.state))
    await watch.read()
    assert watch.storage.state is StorageState.NORMAL
    (folder / ".probe-storage").unlink()
    folder.rmdir()
    await watch.read()
    assert watch.storage.state is StorageState.DAMAGED
    assert "gone" in watch.storage.reason
    folder.mkdir()
    await watch.read()
    assert changes == [StorageState.DAMAGED, StorageState.NORMAL]


@pytest.mark.parametrize("is_of_its_own", [False, True])
async def test_a_disk_that_is_unmounted_under_the_agent(tmp_path, small_disk, is_of_its_own):
    # The data folder itself, or a folder in it such as recordings/.
    watch = StorageWatch([tmp_path, small_disk] if is_of_its_own else [small_disk], lambda: None)
    await watch.read()
    assert watch.storage.state is StorageState.NORMAL
    umount = await asyncio.create_subprocess_exec("umount", str(small_disk))
    assert await umount.wait() == 0
    await watch.read()
    mount = await asyncio.create_subprocess_exec("mount", "-t", "tmpfs", "tmpfs", str(small_disk))
    assert await mount.wait() == 0  # So that the fixture has something to take away.
    assert watch.storage.state is StorageState.DAMAGED
    assert "unmounted" in watch.storage.reason
