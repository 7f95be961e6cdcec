"""Dependency graphs over transactions, their strongly connected components, and short cycles of a wanted kind.

An edge carries a set of reasons as a bit mask. Tarjan's algorithm (1972), written as a loop: histories are deep.
"""

WW, WR, RW, PROCESS, REALTIME = 1, 2, 4, 8, 16
NAMES = {WW: "ww", WR: "wr", RW: "rw", PROCESS: "process", REALTIME: "realtime"}


class Graph:
    def __init__(self, size):
        self.out = [{} for _ in range(size)]  # node -> {successor: mask}

    def edge(self, source, target, kind):
        if source != target:
            self.out[source][target] = self.out[source].get(target, 0) | kind

    def components(self, kinds):
        """Strongly connected components of more than one node, in the graph of the edges of these kinds."""
        index, low, on_stack, stack, found, counter = {}, {}, set(), [], [], 0
        for root in range(len(self.out)):
            if root in index:
                continue
            index[root] = low[root] = counter
            counter += 1
            stack.append(root)
            on_stack.add(root)
            work = [(root, iter(self.out[root].items()))]
            while work:
                node, successors = work[-1]
                for successor, mask in successors:
                    if not mask & kinds:
                        continue
                    if successor not in index:
                        index[successor] = low[successor] = counter
                        counter += 1
                        stack.append(successor)
                        on_stack.add(successor)
                        work.append((successor, iter(self.out[successor].items())))
                        break
                    if successor in on_stack:
                        low[node] = min(low[node], index[successor])
                else:
                    work.pop()
                    if work:
                        low[work[-1][0]] = min(low[work[-1][0]], low[node])
                    if low[node] == index[node]:
                        component = []
                        while True:
                            member = stack.pop()
                            on_stack.discard(member)
                            component.append(member)
                            if member == node:
                                break
                        if len(component) > 1:
                            found.append(component)
        return found

    def path(self, source, target, kinds, within):
        """The shortest path as [(node, mask of the edge that leaves it) ...] from source up to before target; or None."""
        came, frontier = {source: None}, [source]
        while frontier:
            following = []
            for node in frontier:
                for successor, mask in self.out[node].items():
                    if not mask & kinds or successor not in within or successor in came:
                        continue
                    came[successor] = (node, mask & kinds)
                    if successor == target:
                        return self._back(came, target)
                    following.append(successor)
            frontier = following
        return None

    @staticmethod
    def _back(came, target):
        steps, node = [], target
        while came[node] is not None:
            node, mask = came[node]
            steps.append((node, mask))
        return steps[::-1]

    def cycle(self, component, first, rest, attempts=300):
        """A cycle in which one edge is of kind `first` and the others of kinds `rest`; the shortest of a number tried."""
        within, best = set(component), None
        for node in component:
            for successor, mask in self.out[node].items():
                if mask & first and successor in within:
                    back = self.path(successor, node, rest, within)
                    if back is not None and (best is None or len(back) + 1 < len(best)):
                        best = [(node, mask & first)] + back
                    attempts -= 1
                    if attempts == 0 or (best and len(best) == 2):
                        return best
        return best


def kinds_text(mask):
    """The strongest reason alone: realtime and process edges only where no data dependency is."""
    return next(name for kind, name in NAMES.items() if mask & kind)
