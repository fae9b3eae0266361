"""Messages of neighbouring versions understand each other; ids cannot become subjects or paths."""

import inspect

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_bus.permissions import machine_permissions, service_permissions
from understudy_contracts import (
    commands,
    events,
    failovers,
    joining,
    licenses,
    machine,
    restorations,
    servers,
    settings,
    verbs,
)
from understudy_contracts.errors import InvalidId, Problem, UnderstudyError, error_from
from understudy_contracts.ids import check_id, epoch_of, failover_id, id_from_name, is_id
from understudy_contracts.model import Service
from understudy_contracts.subjects import MachineAddress, Subjects

MODULES = [
    commands, events, failovers, joining, licenses, machine, restorations, servers, settings, verbs,
]  # fmt: skip
STRICT = {settings.TriggerSettings, settings.StorageTrigger, settings.FailoverSettings}
MESSAGES = sorted(
    {
        member
        for module in MODULES
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, msgspec.Struct) and member.__module__ == module.__name__
    },
    key=lambda kind: kind.__qualname__,
)


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_every_message_is_frozen_documented_and_described_by_a_schema(kind):
    assert kind.__struct_config__.frozen
    assert msgspec.json.schema(kind)


@pytest.mark.parametrize("kind", [k for k in MESSAGES if k not in STRICT], ids=lambda kind: kind.__name__)
def test_fields_of_a_later_version_are_passed_by(kind):
    assert not kind.__struct_config__.forbid_unknown_fields


def test_a_heartbeat_of_an_earlier_version_is_understood():
    body = b'{"machine":"m-1","site":"a","boot":"b","sequence":1,"sent_at":5,"new":{"x":1}}'
    heartbeat = msgspec.json.decode(body, type=machine.Heartbeat)
    assert heartbeat.duty == machine.Unassigned()


@pytest.mark.parametrize("command", commands.AgentCommand.__args__, ids=lambda kind: kind.__name__)
def test_every_command_has_a_name_that_fits_a_subject_and_somebody_who_may_give_it(command):
    name = str(command.__struct_config__.tag)
    subjects = Subjects()
    address = MachineAddress("site-a", "m-1")
    assert subjects.command(address, name) == f"understudy.site.site-a.machine.m-1.do.{name}"
    allowed = [s for s in Service if f"understudy.site.*.machine.*.do.{name}" in
               service_permissions(s, subjects).publish]  # fmt: skip
    assert allowed
    assert not any(".do." in subject for subject in machine_permissions(address, subjects).publish)


@pytest.mark.parametrize("text", ["", "A", "a.b", "a*", ">", "a b", "a/b", "-a", "a\n", "a" * 64, "ä", "\0"])
def test_what_means_something_in_subjects_and_paths_is_no_id(text):
    assert not is_id(text)
    with pytest.raises(InvalidId):
        check_id(text)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"id": text, "name": "n", "source": {"url": "rtsp://x"}}, type=settings.Camera)


@given(st.text(max_size=80))
def test_a_name_becomes_an_id_or_nothing(name):
    made = id_from_name(name)
    assert made == "" or is_id(made)


@given(st.integers(1, 10**14))
def test_failover_ids_tell_their_epoch(epoch):
    assert epoch_of(failover_id(epoch)) == epoch


@given(st.text(max_size=30))
def test_no_subject_can_be_smuggled(text):
    subjects = Subjects()
    try:
        made = subjects.event("failover", text, "active")
    except InvalidId:
        return
    assert made.count(".") == 4
    assert not set(made) & set("*> \t\r\n")


ERRORS = [kind for kind in UnderstudyError.__subclasses__() if kind.__module__ == UnderstudyError.__module__]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.code)
def test_an_error_crosses_the_bus_as_what_it_is(kind):
    sent = kind("no", camera="cam-1").problem()
    received = error_from(msgspec.json.decode(msgspec.json.encode(sent), type=Problem))
    assert received.code == kind.code
    assert isinstance(received, kind)
    assert (received.message, received.details) == ("no", {"camera": "cam-1"})


def test_a_camera_password_is_not_shown_in_representations():
    source = settings.CameraSource("rtsp://x", "user", "hunter2")
    camera = settings.Camera("cam-1", "Gate", source)
    assert "hunter2" not in repr(
        settings.VersionedSettings("rs-1", "n", 1, settings.ServerSettings([camera]))
    )
