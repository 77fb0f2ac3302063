"""A tree of topic filters, or of topics, by their levels (MQTT 5.0 §4.7).

The cost of a search depends on the number of levels and of matches, not on the number
of filters.
"""

from typing import Final, Generic, TypeVar

T = TypeVar("T")
# More steps than any search needs.
ALL: Final = 1 << 60


class _Node(Generic[T]):
    """One level: the value that ends here, and the levels below."""

    __slots__ = ("children", "value")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] | None = None
        self.value: T | None = None


class FilterSearch(Generic[T]):
    """Searches for all filters that match a topic name, in steps.

    A filter that is set or removed between two steps may be found or not.

    Attributes:
        found: The values found so far.
        is_done: Whether the search is complete.
    """

    __slots__ = (
        "_depth",
        "_is_hidden",
        "_levels",
        "_next",
        "_nodes",
        "_reached",
        "found",
        "is_done",
    )

    def __init__(self, root: _Node[T], topic: str) -> None:
        self.found: list[T] = []
        self.is_done: bool = False
        self._levels: list[str] = topic.split("/")
        self._depth: int = 0
        # The nodes to visit, the index of the next one, and the nodes of the next
        # level.
        self._nodes: list[_Node[T]] = [root]
        self._next: int = 0
        self._reached: list[_Node[T]] = []
        # Wildcards at the first level don't match a leading $ ([MQTT-4.7.2-1]).
        self._is_hidden: bool = topic.startswith("$")

    def go_on(self, most: int) -> int:
        """Visit at most that many nodes; return the number of nodes visited."""
        looked = 0
        while self._nodes:
            left = most - looked
            if left <= 0:
                return looked
            nodes = self._nodes
            start = self._next
            end = min(start + left, len(nodes))
            self._next = end
            looked += end - start
            is_whole = end == len(nodes)
            if start or not is_whole:
                nodes = nodes[start:end]
            if self._depth == len(self._levels):
                self._end_at(nodes)
            else:
                self._descend(nodes, self._levels[self._depth])
            if is_whole:
                self._nodes, self._reached, self._next = self._reached, [], 0
                self._depth += 1
                self._is_hidden = False
        self.is_done = True
        return looked

    def _descend(self, nodes: list[_Node[T]], level: str) -> None:
        found, reached, is_hidden = self.found, self._reached, self._is_hidden
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

    def _end_at(self, nodes: list[_Node[T]]) -> None:
        found = self.found
        for node in nodes:
            if node.value is not None:
                found.append(node.value)
            # "sport/#" matches "sport" too (§4.7.1.2).
            rest = None if node.children is None else node.children.get("#")
            if rest is not None and rest.value is not None:
                found.append(rest.value)


class TopicSearch(Generic[T]):
    """Searches for all topics that a filter matches, in steps.

    A topic that is set or removed between two steps may be found or not.

    Attributes:
        found: The values found so far.
        is_done: Whether the search is complete.
    """

    __slots__ = ("_depth_below", "_levels", "_pending", "found", "is_done")

    def __init__(self, root: _Node[T], topic_filter: str) -> None:
        self.found: list[T] = []
        self.is_done: bool = False
        self._levels: list[str] = topic_filter.split("/")
        # The depth assigned to all nodes below a #.
        self._depth_below: int = len(self._levels) + 1
        # A stack of the nodes to visit, with their depths.
        self._pending: list[tuple[_Node[T], int]] = [(root, 0)]

    def go_on(self, most: int) -> int:
        """Visit at most that many nodes; return the number of nodes visited."""
        looked = 0
        pending, levels, count = self._pending, self._levels, len(self._levels)
        while pending:
            if looked >= most:
                return looked
            looked += 1
            node, depth = pending.pop()
            # "sport/#" matches "sport", but "#" has no level above it.
            level = levels[depth] if depth < count else ""
            if (depth >= count or (level == "#" and depth)) and node.value is not None:
                self.found.append(node.value)
            children = node.children
            if children is None or depth == count:
                continue
            if depth > count:
                self._add(children, depth, False)
            elif level == "#":
                self._add(children, self._depth_below, depth == 0)
            elif level == "+":
                self._add(children, depth + 1, depth == 0)
            else:
                child = children.get(level)
                if child is not None:
                    pending.append((child, depth + 1))
        self.is_done = True
        return looked

    def _add(self, children: dict[str, _Node[T]], depth: int, is_first: bool) -> None:
        self._pending += [
            (child, depth)
            for name, child in reversed(children.items())
            if not (is_first and name.startswith("$"))
        ]


class Trie(Generic[T]):
    """Values by topic filter, or by topic name.

    Attributes:
        levels: The number of levels it holds; a beginning shared by several names
            counts once.
    """

    def __init__(self) -> None:
        self.levels: int = 0
        self._root: _Node[T] = _Node()

    def get(self, name: str) -> T | None:
        """Return the value of exactly this filter or topic, or None."""
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
        # Also remove levels that now lead nowhere.
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

    def search(self, topic: str) -> "FilterSearch[T]":
        """Begin a search for all filters that match a topic name."""
        return FilterSearch(self._root, topic)

    def matching(self, topic: str) -> list[T]:
        """Return the values of all filters that match a topic name."""
        search = self.search(topic)
        search.go_on(ALL)
        return search.found

    def overlapping(self, topic_filter: str) -> list[T]:
        """Return the values of all filters that match a topic which this one matches.

        It may take as many steps as there are levels in the tree.
        """
        found: list[T] = []
        levels = topic_filter.split("/")
        pending: list[tuple[_Node[T], int]] = [(self._root, 0)]
        while pending:
            node, depth = pending.pop()
            level = levels[depth] if depth < len(levels) else ""
            children = node.children or {}
            if level == "#":
                _add_below(node, depth == 0, found)
                continue
            # Wildcards at the first level don't match a leading $ ([MQTT-4.7.2-1]).
            is_hidden = depth == 0 and level.startswith("$")
            rest = children.get("#")
            if rest is not None and rest.value is not None and not is_hidden:
                found.append(rest.value)
            if depth == len(levels):
                if node.value is not None:
                    found.append(node.value)
            elif level == "+":
                for name, child in children.items():
                    if name != "#" and not (depth == 0 and name.startswith("$")):
                        pending.append((child, depth + 1))
            else:
                for name in (level,) if is_hidden else (level, "+"):
                    matching = children.get(name)
                    if matching is not None:
                        pending.append((matching, depth + 1))
        return found

    def search_topics(self, topic_filter: str) -> "TopicSearch[T]":
        """Begin a search for all topic names that a filter matches."""
        return TopicSearch(self._root, topic_filter)

    def matched_by(self, topic_filter: str) -> list[T]:
        """Return the values of all topic names that a filter matches."""
        search = self.search_topics(topic_filter)
        search.go_on(ALL)
        return search.found


def _add_below(node: _Node[T], is_first: bool, found: list[T]) -> None:
    """Add the values of a node and of all below it that a # there overlaps."""
    pending = [node]
    while pending:
        each = pending.pop()
        if each.value is not None:
            found.append(each.value)
        for name, child in (each.children or {}).items():
            if not (is_first and name.startswith("$")):
                pending.append(child)
        is_first = False
