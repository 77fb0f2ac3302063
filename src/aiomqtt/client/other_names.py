"""Hints for names that only other clients, and aiomqtt 1, have.

Each name is a descriptor that raises. A ``__getattr__`` would keep CPython 3.11 from
specializing every access to an attribute of the client, which costs a quarter of
publishing at QoS 0.
"""

from typing import Final, NoReturn

_ITERATE: Final = "use `async for message in client.messages`"
_ENTER: Final = "use `async with client:`"
_LEAVE: Final = "leave `async with client:`, or `await client.disconnect()`"
_SPLIT: Final = (
    "use `async for message in client.messages` and"
    " `message.topic.matches(topic_filter)`"
)
_LOOP: Final = "the event loop runs the client: there is nothing to call"

_INSTEAD: Final = {
    # aiomqtt 1
    "filtered_messages": _SPLIT,
    "unfiltered_messages": _ITERATE,
    "id": "use `client.identifier`",
    "force_disconnect": _LEAVE,
    # paho-mqtt and gmqtt
    "connect": _ENTER,
    "connect_async": _ENTER,
    "reconnect": "use `Client(reconnect=True)`",
    "reconnect_delay_set": "use `Client(reconnect=aiomqtt.Reconnect(min_delay=...))`",
    "set_auth_credentials": "use `client.set_credentials(username, password)`",
    "username_pw_set": "use `client.set_credentials(username, password)`",
    "on_connect": "put it first within `async with client:`",
    "on_connect_fail": "use `except MqttError` around `async with client:`",
    "on_disconnect": "use `except MqttError` around `async with client:`",
    "on_message": _ITERATE,
    "on_publish": "`await client.publish(...)` returns when the broker has it",
    "on_subscribe": "`await client.subscribe(...)` returns what was granted",
    "on_unsubscribe": "`await client.unsubscribe(...)` returns when it is done",
    "on_log": "use the logger named mqtt, or `Client(logger=...)`",
    "enable_logger": "use the logger named mqtt, or `Client(logger=...)`",
    "message_callback_add": _SPLIT,
    "message_callback_remove": _SPLIT,
    "loop": _LOOP,
    "loop_forever": _LOOP,
    "loop_start": _LOOP,
    "loop_stop": _LOOP,
    "loop_misc": _LOOP,
    "loop_read": _LOOP,
    "loop_write": _LOOP,
    "will_set": "use `Client(will=aiomqtt.Will(...))`",
    "will_clear": "use `Client(will=None)`",
    "tls_set": "use `Client(tls_params=aiomqtt.TLSParameters(...))`",
    "tls_set_context": "use `Client(tls_context=...)`",
    "tls_insecure_set": "use `Client(tls_insecure=...)`",
    "proxy_set": "use `Client(proxy=...)`",
    "ws_set_options": "use `client.set_websocket_options(path, headers)`",
    "max_inflight_messages_set": "use `Client(max_inflight_messages=...)`",
    "max_queued_messages_set": "use `Client(max_queued_outgoing_messages=...)`",
}


class _Missing:
    """An attribute that does not exist, with a hint at its replacement."""

    def __init__(self, name: str, instead: str) -> None:
        self._name = name
        self._instead = instead

    def __get__(self, client: object | None, owner: type) -> NoReturn:
        msg = f"{owner.__name__!r} object has no attribute {self._name!r}"
        raise AttributeError(f"{msg}: {self._instead}", name=self._name, obj=client)


class OtherNames:
    """The names of other clients. An attribute set by the program takes precedence."""

    def __dir__(self) -> list[str]:
        """Return the names of existing attributes only."""
        return [name for name in super().__dir__() if name not in _INSTEAD]


for _name, _instead in _INSTEAD.items():
    setattr(OtherNames, _name, _Missing(_name, _instead))
