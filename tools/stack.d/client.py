"""Commands that speak to a stack in the background."""
import json
import os
import signal
import socket
import subprocess
import sys
import time

import install
from report import StackError, say


def up(program, directory, names):
    for name in names:
        install.ensure(name)
    if _facts(directory):
        missing = [name for name in names if name not in _facts(directory)["parts"]]
        if missing:
            raise StackError(f"a stack without {' '.join(missing)} runs in {directory}: "
                             f"tools/stack down --dir {directory} first")
        say(f"already up: {directory}")
        return
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "supervisor.log"
    # Its standard input is a pipe that only the supervisor itself holds open: it ends by a signal only.
    held, holder = os.pipe()
    with open(log, "wb") as output:
        process = subprocess.Popen([sys.executable, str(program), "serve", "--keep", "--dir", str(directory), *names],
                                   stdin=held, stdout=subprocess.PIPE, stderr=output, start_new_session=True,
                                   pass_fds=[holder])
    os.close(held)
    os.close(holder)
    line = process.stdout.readline()
    if not line:
        process.wait()
        raise StackError(f"the stack did not start:\n{log.read_text()}")
    status(directory)


def down(directory):
    facts = _facts(directory)
    if not facts:
        say(f"nothing runs in {directory}")
        return
    os.kill(facts["supervisor"], signal.SIGTERM)
    while (directory / "control").exists() and _is_alive(facts["supervisor"]):
        time.sleep(0.1)
    say(f"stopped {directory}")


def status(directory):
    """Exit code 0 when a stack runs there."""
    facts = _facts(directory)
    if not facts:
        say(f"nothing runs in {directory}")
        return 1
    for name, part in facts["parts"].items():
        state = "" if "pid" not in part else f"pid {part['pid']} " if _is_alive(part["pid"]) else "stopped "
        shown = " ".join(f"{key}={value}" for key, value in part.items() if key not in ("pid", "log", "secret"))
        print(f"{name:10} {state}{shown}")
    return 0


def env(directory):
    facts = _facts(directory)
    if not facts:
        raise StackError(f"nothing runs in {directory}: tools/stack up --dir {directory}")
    print(f"export SLUICE_TEST_STACK='{directory / 'stack.json'}'")
    for name, part in facts["parts"].items():
        for key, value in part.items():
            print(f"export STACK_{name.upper()}_{key.upper()}='{value}'")


def ask(directory, verb, part):
    """Has the supervisor stop or start one part, and waits until it has."""
    os.chdir(directory)
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect("control")
        except OSError as error:
            raise StackError(f"nothing runs in {directory}: {error}") from None
        connection.sendall(f"{verb} {part}".encode())
        answer = connection.recv(65536).decode().strip()
    if answer != "ok":
        raise StackError(f"{verb} {part}: {answer or 'no answer'}")


def _facts(directory):
    try:
        facts = json.loads((directory / "stack.json").read_text())
    except (OSError, json.JSONDecodeError):
        return None
    return facts if _is_alive(facts["supervisor"]) else None


def _is_alive(pid):
    """A zombie is not alive."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
