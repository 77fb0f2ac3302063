"""The topic filters to which a client has subscribed, and which of them match."""

from typing import TYPE_CHECKING

from .routed import RoutedFilter

if TYPE_CHECKING:
    from aiomqtt.routing.trie import Trie


class FilterTable:
    """Finds the topic filters that match a topic, or that overlap a filter.

    Attributes:
        by_name: All topic filters, by their name.
    """

    __slots__ = ("_exact", "_tree", "by_name")

    def __init__(self) -> None:
        self.by_name: dict[str, RoutedFilter] = {}
        # Those without wildcards by the topic; all in a tree, which is None until one
        # has wildcards.
        self._exact: dict[str, list[RoutedFilter]] = {}
        self._tree: Trie[list[RoutedFilter]] | None = None

    def clear(self) -> None:
        """Forget all filters."""
        self.by_name.clear()
        self._exact.clear()
        self._tree = None

    def find(self, topic: str) -> list[RoutedFilter]:
        """Return the filters that match a topic name; the caller must not change it."""
        if self._tree is None:
            found = self._exact.get(topic)
            return [] if found is None else found
        lists = self._tree.matching(topic)
        if len(lists) == 1:
            return lists[0]
        return [routed for filters in lists for routed in filters]

    def overlapping(self, routed: RoutedFilter) -> list[RoutedFilter]:
        """Return the filters that match a topic which this one matches, and itself."""
        if not routed.has_wildcard:
            return self.find(routed.topic_filter)
        assert self._tree is not None
        lists = self._tree.overlapping(routed.topic_filter)
        return [each for filters in lists for each in filters]

    def add(self, name: str) -> RoutedFilter:
        """Return the filter of this name, after adding it if it is not there."""
        routed = self.by_name.get(name)
        if routed is None:
            routed = self.by_name[name] = RoutedFilter(name)
            self._index(routed)
        return routed

    def _index(self, routed: RoutedFilter) -> None:
        topic_filter = routed.topic_filter
        if not routed.has_wildcard:
            self._exact.setdefault(topic_filter, []).append(routed)
        elif self._tree is None:
            # Most programs do without it.
            from aiomqtt.routing.trie import Trie

            self._tree = Trie()
            for topic, filters in self._exact.items():
                self._tree.set(topic, filters)
        self._add_to_tree(routed)

    def _add_to_tree(self, routed: RoutedFilter) -> None:
        tree, topic_filter = self._tree, routed.topic_filter
        if tree is None:
            return
        filters = tree.get(topic_filter)
        if filters is None:
            # The same list as for the topic, if it has no wildcards.
            tree.set(topic_filter, self._exact.get(topic_filter, [routed]))
        elif routed not in filters:
            filters.append(routed)

    def remove(self, routed: RoutedFilter) -> None:
        """Forget a filter that is in the table."""
        del self.by_name[routed.name]
        tree, topic_filter = self._tree, routed.topic_filter
        filters = self._exact.get(topic_filter)
        if filters is None and tree is not None:
            filters = tree.get(topic_filter)
        assert filters is not None
        filters.remove(routed)
        if not filters:
            self._exact.pop(topic_filter, None)
            if tree is not None:
                tree.remove(topic_filter)
