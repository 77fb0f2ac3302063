"""The errors: one root, data that programs read, and texts that they compare."""

import copy
import pickle

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode as PahoReasonCode

import aiomqtt
from aiomqtt import (
    MqttCodeError,
    MqttConnectError,
    MqttError,
    MqttLimitError,
    MqttReentrantError,
    Properties,
    ReasonCode,
)

CODE_ERRORS = [MqttCodeError, MqttConnectError, MqttLimitError]


def test_there_is_one_root():
    assert issubclass(MqttError, Exception)
    assert issubclass(MqttCodeError, MqttError)
    assert issubclass(MqttConnectError, MqttCodeError)
    assert issubclass(MqttReentrantError, MqttError)
    assert not issubclass(MqttReentrantError, MqttCodeError)
    # What the program asked for is at fault, so `except ValueError` catches it too.
    assert issubclass(MqttLimitError, MqttCodeError)
    assert issubclass(MqttLimitError, ValueError)


def test_every_error_of_the_package_is_an_mqtt_error():
    errors = [
        value
        for value in vars(aiomqtt).values()
        if isinstance(value, type) and issubclass(value, BaseException)
    ]
    assert len(errors) == 5
    assert all(issubclass(error, MqttError) for error in errors)


def test_an_error_with_a_text():
    error = MqttError("Operation timed out")
    assert str(error) == "Operation timed out"
    assert error.args == ("Operation timed out",)
    assert error.reason_code is None
    assert error.reason_string is None
    assert error.properties is None


# --- MqttCodeError -------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (MqttCodeError(135), 135, "[code:135] Not authorized"),
        (MqttCodeError(rc=135), 135, "[code:135] Not authorized"),
        (MqttCodeError(135, "no access"), 135, "[code:135] no access"),
        (MqttCodeError(135, "no", "access"), 135, "[code:135] no access"),
        (MqttCodeError(ReasonCode(4, "mine")), 4, "[code:4] mine"),
        (MqttCodeError(ReasonCode(4, "mine"), "text"), 4, "[code:4] text"),
        (MqttCodeError(77), 77, "[code:77] Unknown"),
        (MqttCodeError(4), 4, "[code:4] The client is not currently connected."),
        (MqttCodeError(15), 15, "[code:15] Message queue full."),
        (MqttCodeError(7), 7, "[code:7] The connection was lost."),
    ],
)
def test_programs_build_an_error_of_a_code(error, code, text):
    assert error.rc == code
    assert error.rc.value == code
    assert str(error) == text
    assert error.reason_code == code


@pytest.mark.parametrize("code", [4, 15, 77, 135])
def test_a_code_that_was_given_as_a_number_prints_as_one(code):
    error = MqttCodeError(code, "text")
    assert (str(error.rc), repr(error.rc), f"{error.rc}") == (str(code),) * 3
    again = pickle.loads(pickle.dumps(error))
    assert repr(again.rc) == str(code)


def test_the_code_equals_ints_and_has_a_value():
    error = MqttCodeError(ReasonCode(135), "text")
    assert error.rc == 135
    assert error.rc in (4, 5, 135)
    assert error.rc != 4
    assert isinstance(error.rc, int)
    assert error.rc.value == 135
    assert str(error.rc) == "Not authorized"
    assert error.rc.is_failure


def test_an_error_without_a_code():
    for error in (MqttCodeError(), MqttCodeError(None), MqttCodeError(rc=None)):
        assert error.rc is None
        assert error.reason_code is None
        assert str(error) == "[code:None] "
    assert str(MqttCodeError(None, "text")) == "[code:None] text"


def test_the_text_stays_in_the_args():
    assert MqttCodeError(135, "text").args == ("text",)
    assert MqttCodeError(135).args == ()


def test_the_reason_code_of_paho_may_be_passed():
    theirs = PahoReasonCode(PacketTypes.CONNACK, identifier=135)
    error = MqttCodeError(theirs)
    assert error.rc == 135
    assert error.rc.value == 135
    assert isinstance(error.rc, ReasonCode)
    assert str(error) == "[code:135] Not authorized"
    # Its name is that of the packet.
    theirs = PahoReasonCode(PacketTypes.SUBACK, identifier=0)
    assert str(MqttCodeError(theirs)) == "[code:0] Granted QoS 0"


@pytest.mark.parametrize("rc", ["135", 1.5, object(), b"x"])
def test_what_is_no_code_is_refused(rc):
    with pytest.raises(TypeError, match="^rc must be an int, a ReasonCode or None"):
        MqttCodeError(rc)


# --- MqttConnectError ----------------------------------------------------------


@pytest.mark.parametrize(
    ("rc", "text"),
    [
        (1, "Incorrect protocol version"),
        (2, "Invalid client identifier"),
        (3, "Server unavailable"),
        (4, "Bad username or password"),
        (5, "Not authorised"),
        (134, "Bad user name or password"),
    ],
)
def test_a_refusal_by_a_number_says_why(rc, text):
    error = MqttConnectError(rc)
    assert error.rc is not None
    assert str(error) == f"[code:{error.rc.value}] Connection refused: {text}"
    assert error.rc in (1, 2, 3, 4, 5, 134, 135, 136)
    assert error.reason_code is error.rc


@pytest.mark.parametrize(
    ("rc", "text"),
    [
        (ReasonCode(135), "[code:135] Not authorized"),
        (ReasonCode(5, "Not authorised"), "[code:5] Not authorised"),
        (
            PahoReasonCode(PacketTypes.CONNACK, identifier=0x88),
            "[code:136] Server unavailable",
        ),
        (
            PahoReasonCode(PacketTypes.CONNACK, identifier=0x86),
            "[code:134] Bad user name or password",
        ),
    ],
)
def test_a_refusal_by_a_reason_code_is_its_name(rc, text):
    """It is the same in aiomqtt 2.5."""
    error = MqttConnectError(rc)
    assert str(error) == text
    assert error.rc == rc.value


def test_the_names_are_those_of_paho():
    for code, names in PahoReasonCode(PacketTypes.CONNACK, identifier=0).names.items():
        spelling = str(ReasonCode(code))
        assert spelling in names
        assert ReasonCode(code).getName() == spelling
        assert ReasonCode(code) == spelling
        assert ReasonCode(code) == ReasonCode(code).name


def test_a_refusal_with_a_text_of_its_own():
    error = MqttConnectError(5, "by the broker at example.org:1883")
    assert str(error) == (
        "[code:5] Connection refused: by the broker at example.org:1883"
    )


# --- copies --------------------------------------------------------------------

ERRORS = [
    MqttError("text"),
    MqttReentrantError("text"),
    MqttCodeError(135),
    MqttCodeError(135, "text"),
    MqttCodeError(None, "text", 2),
    MqttCodeError(),
    MqttConnectError(5),
    MqttConnectError(ReasonCode(135), "text"),
    MqttLimitError(0x95, "too large"),
]

CLONES = [
    copy.copy,
    copy.deepcopy,
    *(
        lambda error, n=n: pickle.loads(pickle.dumps(error, n))
        for n in range(pickle.HIGHEST_PROTOCOL + 1)
    ),
]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("clone", CLONES)
def test_errors_are_copied_and_pickled(error, clone):
    again = clone(error)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.args == error.args
    assert again.reason_code == error.reason_code
    assert getattr(again, "rc", None) == getattr(error, "rc", None)


@pytest.mark.parametrize("clone", CLONES)
@pytest.mark.parametrize(
    "error",
    [MqttError("text"), MqttCodeError(135, "text"), MqttConnectError(135, "text")],
    ids=repr,
)
def test_a_copy_keeps_what_was_added(error, clone):
    error.reason_string = "the broker's words"
    error.properties = Properties(server_reference="b", user_property=[("a", "1")])
    error.attempt = 3  # type: ignore[attr-defined]
    again = clone(error)
    assert again.reason_string == "the broker's words"
    assert again.properties == error.properties
    assert again.attempt == 3


class OwnError(MqttCodeError):
    """A program's error with other arguments."""

    def __init__(self, host, rc):
        super().__init__(rc, f"at {host}")
        self.host = host


def test_a_programs_own_error_is_copied_too():
    again = pickle.loads(pickle.dumps(OwnError("example.org", 135)))
    assert type(again) is OwnError
    assert (again.host, again.rc) == ("example.org", 135)
    assert str(again) == "[code:135] at example.org"


def test_an_error_keeps_its_cause():
    try:
        try:
            raise OSError("refused")
        except OSError as cause:
            raise MqttCodeError(128, "text") from cause
    except MqttError as error:
        assert isinstance(error.__cause__, OSError)  # noqa: PT017


# The return codes of 3.1 and 3.1.1, and what aiomqtt 2.5 reported for them.
RETURN_CODES = {1: 132, 2: 133, 3: 136, 4: 134, 5: 135}


@pytest.mark.parametrize(("code", "reported"), RETURN_CODES.items())
def test_a_return_code_of_3_equals_the_reason_code_of_5_too(code, reported):
    """Programs compare with either: ``rc in (4, 5)`` and ``rc == 135``."""
    received = MqttConnectError(ReasonCode.of_connack(code))
    for error in (
        received,
        pickle.loads(pickle.dumps(received)),
        MqttConnectError(code),
        pickle.loads(pickle.dumps(MqttConnectError(code))),
    ):
        assert error.rc == code
        assert error.rc == reported
        assert error.rc == ReasonCode(reported)
        assert ReasonCode(reported) == error.rc
        assert error.rc != reported + 1
        assert error.rc.is_failure
    assert received.rc is not None
    assert received.rc.value == reported
    assert hash(received.rc) == hash(reported)


def test_other_codes_equal_themselves_only():
    assert ReasonCode(5) != 135
    assert ReasonCode(135) != 5
    assert not ReasonCode(5).is_failure
