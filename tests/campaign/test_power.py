"""A store loses what its durability allows when the power is lost, and no more."""

import json

import pytest

from tests.campaign import processes
from tests.campaign.controls import UNSYNCHRONIZED, find_unsynchronized
from tests.campaign.power import lose_power

pytestmark = [pytest.mark.once("pure"), pytest.mark.timeout(120)]


async def test_what_was_told_is_kept_by_full_and_the_last_may_be_undone_by_normal(
    tmp_path,
):
    result = tmp_path / "figures"
    process = processes.start(lose_power, 2, 40, result)
    assert await processes.ended(process) == 0
    counts = json.loads(result.read_text())
    assert counts["losses of power with full"] > 20
    assert counts["losses of power with normal"] > counts["undone with normal"] > 0
    assert "undone with full" not in counts


@pytest.mark.parametrize("store", UNSYNCHRONIZED)
async def test_a_store_that_does_not_synchronize_is_found(store):
    found = await find_unsynchronized(store, 2, step=15)
    assert found
    if "reservation" in store:
        assert found == "a reservation was undone"
