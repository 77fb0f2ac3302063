"""A session of the broker that is stored: what was stored is what there is."""

from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples

from ..conversation import STEPS, Conversation
from ..world import V5, V311, World


@examples(75)
@given(st.sampled_from([V311, V5]), st.lists(STEPS, min_size=10, max_size=60))
def test_at_every_step_the_changes_make_of_what_was_stored_what_there_is(
    version, steps
):
    conversation = Conversation(version)
    for step in steps:
        conversation.step(*step)
        if conversation.client is None:
            conversation.restart()
            conversation.check()


@examples(30)
@given(st.sampled_from([V311, V5]), st.lists(STEPS, min_size=1, max_size=12))
def test_at_every_step_a_stored_session_goes_on_as_the_one_that_was(version, steps):
    for cut in range(len(steps) + 1):
        same, other = Conversation(version), Conversation(version)
        for conversation in (same, other):
            for step in steps[:cut]:
                conversation.step(*step)
            conversation.step("lose", 0)
        other.restart()
        for conversation in (same, other):
            for step in [*steps[cut:], ("connect", 0)]:
                conversation.step(*step)
        assert same.got == other.got
        assert same.stored == other.stored


def test_what_is_stored_does_not_depend_on_the_version():
    conversation = Conversation(V5)
    conversation.step("subscribe", 1)
    conversation.step("lose", 0)
    conversation.step("publish that expires", 3)
    conversation.step("publish", 0)
    conversation.restart()
    conversation.version = V311
    conversation.got.clear()
    conversation.step("connect", 0)
    first, second = conversation.got
    assert "payload=b'e'" in first
    assert "properties=None" in first
    assert "payload=b'0'" in second


def test_the_memory_that_stored_messages_take_is_counted():
    conversation = Conversation(V5)
    conversation.step("lose", 0)
    empty = conversation.world.state.memory.used
    for _ in range(5):
        conversation.step("publish", 0)
    conversation.restart()
    assert conversation.world.state.memory.used > empty
    conversation.step("connect", 0)
    while conversation.unanswered:
        conversation.step("acknowledge", 0)
    conversation.step("lose", 0)
    assert conversation.world.state.memory.used == empty


def test_a_session_that_is_not_durable_records_nothing():
    world = World()
    world.client(client_id="me").subscribe("t", 1)
    assert world.state.sessions["me"].record is None
