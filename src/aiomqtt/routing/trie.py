"""A tree of topic filters, or of topics, by their levels (MQTT 5.0 §4.7).

What it costs to find what matches is a matter of the number of levels and of what is
found, not of how many filters there are.
"""

from typing import Generic, TypeVar

T = TypeVar("T")


class _Node(Generic[T]):
    """One level: what ends here, and what goes on."""

    __slots__ = ("children", "value")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] | None = None
        self.value: T | None = None


class Trie(Generic[T]):
    """Values by topic filter, or by topic name.

    Attributes:
        levels: How many levels it holds; what several names begin with counts once.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.levels: int = 0
        self._root: _Node[T] = _Node()

    def get(self, name: str) -> T | None:
        """Return the value of just this filter or topic, or None."""
        node = self._root
        for level in name.split("/"):
            child = None if node.children is None else node.children.get(level)
            if child is None:
                return None
            node = child
        return node.value

    def set(self, name: str, value: T) -> None:
        """Set the value of a filter or topic."""
        node = self._root
        for level in name.split("/"):
            if node.children is None:
                node.children = {}
            child = node.children.get(level)
            if child is None:
                child = node.children[level] = _Node()
                self.levels += 1
            node = child
        node.value = value

    def remove(self, name: str) -> None:
        """Remove the value of a filter or topic, if it has one."""
        levels = name.split("/")
        path = [self._root]
        for level in levels:
            children = path[-1].children
            if children is None or level not in children:
                return
            path.append(children[level])
        path[-1].value = None
        # What leads to nothing any more goes too.
        for depth in range(len(levels), 0, -1):
            node = path[depth]
            if node.value is not None or node.children:
                return
            parent = path[depth - 1]
            assert parent.children is not None
            del parent.children[levels[depth - 1]]
            self.levels -= 1
            if not parent.children:
                parent.children = None

    def matching(self, topic: str) -> list[T]:
        """Return the values of all filters that match a topic name."""
        found: list[T] = []
        nodes = [self._root]
        # Wildcards at the first level don't match a leading $ ([MQTT-4.7.2-1]).
        is_hidden = topic.startswith("$")
        for level in topic.split("/"):
            reached: list[_Node[T]] = []
            for node in nodes:
                children = node.children
                if children is None:
                    continue
                child = children.get(level)
                if child is not None:
                    reached.append(child)
                if is_hidden:
                    continue
                child = children.get("+")
                if child is not None:
                    reached.append(child)
                child = children.get("#")
                if child is not None and child.value is not None:
                    found.append(child.value)
            if not reached:
                return found
            nodes = reached
            is_hidden = False
        for node in nodes:
            if node.value is not None:
                found.append(node.value)
            # "sport/#" matches "sport" too (§4.7.1.2).
            rest = None if node.children is None else node.children.get("#")
            if rest is not None and rest.value is not None:
                found.append(rest.value)
        return found

    def matched_by(self, topic_filter: str) -> list[T]:
        """Return the values of all topic names that a filter matches."""
        levels = topic_filter.split("/")
        nodes = [self._root]
        for depth, level in enumerate(levels):
            if level == "#":
                # The level above it counts too, unless there is none.
                return _below(nodes, depth == 0)
            reached: list[_Node[T]] = []
            for node in nodes:
                children = node.children
                if children is None:
                    continue
                if level == "+":
                    reached += [
                        child
                        for name, child in children.items()
                        if depth or not name.startswith("$")
                    ]
                else:
                    child = children.get(level)
                    if child is not None:
                        reached.append(child)
            nodes = reached
        return [node.value for node in nodes if node.value is not None]


def _below(nodes: list[_Node[T]], is_root: bool) -> list[T]:
    """Return the values of nodes and of all below them."""
    found: list[T] = []
    pending = list(reversed(nodes))
    while pending:
        node = pending.pop()
        if node.value is not None:
            found.append(node.value)
        if node.children is not None:
            pending += [
                child
                for name, child in reversed(node.children.items())
                if not (is_root and name.startswith("$"))
            ]
        is_root = False
    return found
