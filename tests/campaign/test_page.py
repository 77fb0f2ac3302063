"""The page of the figures says what happened, and what was wrong."""

from collections import Counter

from tests.campaign.page import PAGE, Result, describe_machine, make_table, render

COUNTS = Counter({"kills": 1234, "messages at QoS 1": 50, "lost": 0})
GOOD = Result("mosquitto", "5.0", "kill at random", COUNTS, [])
BAD = Result("aiomqtt", "5.0", "kill at random", Counter({"lost": 2}), ["2 lost: 7"])


def test_parts_and_brokers_are_added_up():
    lines = make_table([GOOD, BAD])
    assert lines[2] == "| kill at random | 1,234 kills | 50 | 0 | 0 | 2 | 0 | 0 | 0 |"
    assert lines[3].startswith(
        "| **all on mosquitto** | 1,234 kills | 50 | 0 | 0 | 0 |"
    )
    assert lines[4].startswith("| **all on aiomqtt** |  | 0 | 0 | 0 | 2 |")
    assert lines[5].startswith("| **everything** | 1,234 kills | 50 | 0 | 0 | 2 |")


def test_problems_are_on_the_page():
    damage = Counter({"files cut": 1000, "refused": 1})
    page = render([GOOD, BAD], damage, {"is wrong": "2 doubled"}, 7, 120, 0.25)
    assert "seed 7, 2 minutes" in page
    assert "- 2 lost: 7\n" in page
    assert "| is wrong | 2 doubled |" in page
    assert "limited" not in page
    page = render([GOOD], damage, {}, 7, 120, 0.25, is_limited=True)
    assert "seed 7, 2 minutes;\nthis time was limited" in page
    page = render([BAD], damage, {}, 7, 120, 0.25)
    assert "at each byte: 1,000 files" in page
    assert "Nothing else was wrong" in render([GOOD], damage, {}, 7, 120, 0.25)


def test_what_is_excused_is_counted():
    counts = Counter({"repeated after PUBREL": 12, "excused at QoS 2": 3})
    page = render([GOOD, GOOD._replace(counts=counts)], Counter(), {}, 7, 120, 0.25)
    assert "mosquitto has sent 12 such packets here, and 3 messages came twice." in page


def test_losses_of_power_are_described():
    counts = Counter({"undone": 12})
    alone = Counter({"losses of power with full": 1000, "undone with normal": 7})
    page = render([GOOD._replace(counts=counts)], alone, {}, 7, 120, 0.25)
    assert "each of its writes: 1,000 times with" in page
    assert "after 7 of these" in page
    assert "12 messages or rows were undone" in page


def test_the_machine_is_described():
    said = describe_machine()
    assert "cores, Linux " in said
    assert "SQLite 3." in said


def test_the_page_of_the_documentation_has_no_failure():
    (line,) = (
        line for line in PAGE.read_text().splitlines() if "**everything**" in line
    )
    assert line.endswith(" | 0 | 0 | 0 | 0 |")
    assert "Nothing else was wrong" in PAGE.read_text()
