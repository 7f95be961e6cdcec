"""What clients do, and how their histories are judged. A workload is also the key to judge a stored history again, so
everything that its checker needs is in `parameters`, which go into the history's header."""


class Workload:
    """name: as on the command line. tables: SQL that makes the schema; each may use {options} for table options."""

    tables = ()
    rate = 400  # operations a second that all clients together aim at

    def __init__(self, parameters):
        self.parameters = parameters

    @classmethod
    def draw(cls, rng):
        """The parameters of a new run."""
        del rng
        return {}

    def setup(self, client, table_options=""):
        for sql in self.tables:
            with client.operation(timeout=120):
                client.write(sql.format(options=table_options))

    def next(self, rng, worker):
        """(f, argument) of the next operation of that client."""
        raise NotImplementedError

    def execute(self, client, f, argument):
        """Does it; returns the value to record, or raises Refused or Unknown."""
        raise NotImplementedError

    def final(self):
        """Operations for the end, when every fault is healed; each is repeated until it succeeds, at every node."""
        return []

    def check(self, operations):
        raise NotImplementedError


def all_workloads():
    """{name: class}"""
    from workloads import append, bank, elements, fork, knn, monotonic, register, skew
    classes = [register.Register, elements.Elements, bank.Bank, append.Append, skew.Skew, fork.Fork, monotonic.Monotonic,
               knn.Knn]
    return {each.name: each for each in classes}
