"""The headers and the path that programs give."""

import pytest

from aiomqtt.net.websocket.headers import check_headers, check_path, to_headers

DEFAULT = {"Host": "a", "Origin": "http://a"}


def test_a_dict_replaces_and_extends():
    given = {"origin": "http://b", "Authorization": "x"}
    assert to_headers(DEFAULT, given) == {"Host": "a", **given}
    assert to_headers(DEFAULT, {}) == DEFAULT


def test_a_callable_gets_the_default_ones_and_returns_all():
    def only_host(headers):
        assert headers == DEFAULT
        return {"Host": headers["Host"]}

    assert to_headers(dict(DEFAULT), only_host) == {"Host": "a"}


@pytest.mark.parametrize(
    ("headers", "error", "match"),
    [
        (5, TypeError, "websocket_headers must be a dict, not int"),
        (None, TypeError, "not NoneType"),
        ({5: "secret"}, TypeError, "must be str, and the value of 5"),
        ({"A": b"secret"}, TypeError, "the value of 'A' is not"),
        ({"A": "secret\r\nB: c"}, ValueError, "the value of 'A' has line breaks"),
        ({"A": "secret\0"}, ValueError, "the value of 'A' has line breaks"),
        ({"A": "secret\u2603"}, ValueError, "the value of 'A' has"),
        ({"A:": "secret"}, ValueError, "'A:' can't be the name"),
        ({"A B": "secret"}, ValueError, "'A B' can't be the name"),
        ({"": "secret"}, ValueError, "'' can't be the name"),
        ({"\xe4": "secret"}, ValueError, "can't be the name"),
        ({"A\n": "secret"}, ValueError, "can't be the name"),
    ],
)
def test_headers_that_can_not_be_sent(headers, error, match):
    with pytest.raises(error, match=match) as caught:
        check_headers(headers)
    assert "secret" not in str(caught.value)
    with pytest.raises(error, match=match):
        to_headers(DEFAULT, lambda _: headers)


@pytest.mark.parametrize(
    ("path", "made"),
    [("/mqtt", "/mqtt"), ("mqtt", "/mqtt"), ("", "/"), ("/a?b=c", "/a?b=c")],
)
def test_paths(path, made):
    assert check_path(path) == made


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (5, TypeError),
        ("/secret path", ValueError),
        ("/secret\r\nA: b", ValueError),
        ("/a#secret", ValueError),
    ],
)
def test_paths_that_can_not_be_sent(path, error):
    with pytest.raises(error, match="websocket_path") as caught:
        check_path(path)
    assert "secret" not in str(caught.value)
