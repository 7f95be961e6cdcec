"""A bank: transfers between accounts in transactions, reads of all balances in one statement."""

from checkers import bank
from harness.client import Refused
from workloads import Workload

ACCOUNTS, BALANCE = 8, 100


class Bank(Workload):
    name = "bank"
    rate = 250
    tables = ("CREATE TABLE accounts (id integer PRIMARY KEY, balance integer NOT NULL){options}",)

    def setup(self, client, table_options=""):
        super().setup(client, table_options)
        with client.operation():
            client.write("INSERT INTO accounts VALUES " + ", ".join(f"({i}, {BALANCE})" for i in range(ACCOUNTS)))

    def next(self, rng, worker):
        if rng.random() < 0.3:
            return "read", None
        source, target = rng.sample(range(ACCOUNTS), 2)
        return "transfer", [source, target, rng.randint(1, 40)]

    def execute(self, client, f, argument):
        if f == "read":
            return dict(client.query("SELECT id, balance FROM accounts"))
        source, target, amount = argument
        with client.transaction():
            ((there,),) = client.query("SELECT balance FROM accounts WHERE id = %s", source)
            if there < amount:
                raise Refused("not enough")
            ((other,),) = client.query("SELECT balance FROM accounts WHERE id = %s", target)
            client.change("UPDATE accounts SET balance = %s WHERE id = %s", there - amount, source)
            client.change("UPDATE accounts SET balance = %s WHERE id = %s", other + amount, target)
        return argument

    def final(self):
        return [("read", None)]

    def check(self, operations):
        return bank.check(operations, {i: BALANCE for i in range(ACCOUNTS)})
