"""What tests of real processes expect, and how long they wait for what takes a cluster a moment."""

import os
import threading
import time

# Seconds until something must have come about; only a machine that hangs needs them.
DEADLINE = int(os.environ.get("GNOMON_TEST_DEADLINE", "180"))

# What is said of a change that has to wait for another one: of the balancer, which is at work, too, or of the leader's.
BUSY = ("changing", "has just", "could not take over", "does not lead", "no leader of group", "not finished", "to finish",
        "somebody else", "about to commit", "could not serialize")


def expect(condition, text):
    if not condition:
        raise AssertionError(text)


def equal(found, wanted, what):
    expect(found == wanted, f"{what}: {found!r}, not {wanted!r}")


def until(condition, what):
    """Asks again and again; gives what it found."""
    end = time.monotonic() + DEADLINE
    while True:
        found = condition()
        if found:
            return found
        expect(time.monotonic() < end, f"not within {DEADLINE} s: {what}")
        threading.Event().wait(0.05)


def eventually(check):
    """Runs it again and again until it finds nothing wrong, and gives what it returned. For what a cluster reports of
    itself: any one report may be of the moment in which a leader changes, or lack a node that was slow to answer."""
    end = time.monotonic() + DEADLINE
    while True:
        try:
            return check()
        except AssertionError:
            if time.monotonic() > end:
                raise
        threading.Event().wait(0.05)


def insist(command, what):
    """Runs gnomonctl again while it is refused because something else is under way, as an operator would."""
    def attempt():
        done = command()
        return done if done.returncode == 0 or not any(words in done.stderr for words in BUSY) else None
    done = until(attempt, f"{what} is not refused any more")
    equal(done.returncode, 0, f"{what}: {done.stdout}{done.stderr}")
    return done
