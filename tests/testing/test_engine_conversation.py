"""Two conversations with one seed are the same, and all kinds of changes happen."""

import itertools

import pytest

from aiomqtt.protocol.changes import ChangeKind, SessionState
from aiomqtt.testing.engine_conversation import EngineConversation


@pytest.mark.parametrize("seed", range(10))
def test_a_session_that_is_restored_goes_on_as_the_one_that_was(seed):
    same, other, stored = (
        EngineConversation(seed),
        EngineConversation(seed),
        SessionState("me"),
    )
    for _ in range(10):
        same.go_on(60, is_last=True)
        for change in other.go_on(60, is_last=True):
            stored.apply(change)
        assert stored == other.state == same.state
        assert other.written == same.written
        other.restart(stored)


def test_a_session_that_forgets_goes_on_otherwise():
    same, other = EngineConversation(1), EngineConversation(1)
    for conversation in (same, other):
        conversation.go_on(200, is_last=True)
    other.restart(SessionState("me"))
    for conversation in (same, other):
        conversation.go_on(200)
    assert same.written != other.written


def test_all_changes_of_a_client_happen():
    conversations = [EngineConversation(seed) for seed in range(6)]
    kinds = {
        change.kind
        for conversation, _ in itertools.product(conversations, range(30))
        for change in conversation.go_on(30, is_last=True)
    }
    others = {
        # By programs that do more than this one.
        ChangeKind.ADDED_FIRST,
        ChangeKind.NAMED,
        ChangeKind.OUTBOUND_CLEARED,
        ChangeKind.UNSTAGED,
        # By brokers.
        ChangeKind.RETAINED_PENDING,
    }
    everything = {value for name, value in vars(ChangeKind).items() if name.isupper()}
    assert kinds == everything - others
