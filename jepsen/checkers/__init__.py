"""Judges of histories. Each has check(operations) -> Result; none knows of processes, networks or SQL."""


class Result:
    """What a checker found. Anomalies by name, each with a few examples in words; no anomaly is a valid history."""

    EXAMPLES = 5

    def __init__(self):
        self.counts, self.examples, self.notes, self.unknown = {}, {}, {}, None

    def anomaly(self, name, text):
        self.counts[name] = self.counts.get(name, 0) + 1
        examples = self.examples.setdefault(name, [])
        if len(examples) < self.EXAMPLES:
            examples.append(text)

    def give_up(self, reason):
        """The history is neither right nor wrong, as far as the search went."""
        self.unknown = reason

    @property
    def verdict(self):
        if self.counts:
            return "invalid"
        return "unknown" if self.unknown else "valid"
