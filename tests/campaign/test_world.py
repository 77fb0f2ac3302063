"""The ledgers of the campaign find what is wrong, and excuse what a broker did."""

import shutil

from tests.campaign.world import World


def repeat_after_release(broker: str) -> World:
    world = World(broker, 5, 1)
    world.excuse("campaign/me/2", (7).to_bytes(8))
    shutil.rmtree(world.directory)
    return world


def test_mosquitto_may_repeat_a_message_after_its_release():
    world = repeat_after_release("mosquitto")
    assert world.problems == []
    assert world.counts["repeated after PUBREL"] == 1
    assert world.excused == {("campaign/me/2", 7)}


def test_the_broker_of_the_library_may_not():
    world = repeat_after_release("aiomqtt")
    assert world.excused == set()
    assert world.problems == ["the broker repeats campaign/me/2 7 after PUBREL"]
