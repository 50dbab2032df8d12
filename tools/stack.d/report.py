"""How the stack speaks to its user: progress on standard error, failures as one exception."""
import sys


class StackError(Exception):
    """Something is missing or failed; the text says what to do."""


def say(text):
    print(f"stack: {text}", file=sys.stderr, flush=True)
