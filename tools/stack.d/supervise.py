"""One process that owns the services of a stack: nothing outlives it, and it outlives nobody who asked for it."""
import ctypes
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

import parts
from report import StackError, say

READY_SECONDS = 180
STOP_SECONDS = 20
START_ATTEMPTS = 3
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with(parent):
    def prepare_child():
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
    return prepare_child


class Stack:
    """The services of one directory. All of them are started by this thread: a death signal is bound to the thread."""

    def __init__(self, directory, names):
        self.directory = directory
        self.names = names
        self.services = {}
        self.processes = {}
        (directory / "logs").mkdir(parents=True, exist_ok=True)

    def start_all(self):
        for name in self.names:
            self.services[name] = parts.KINDS[name](self.directory)
            self._launch(name)
        for name in self.names:
            self._await(name)
        self._write_facts()

    def start(self, name):
        if self._alive(name):
            return
        self._launch(name)
        self._await(name)
        self._write_facts()

    def stop(self, name):
        process = self.processes.pop(name, None)
        if process is None:
            return
        # A part that a test has frozen has to run to be stopped.
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            say(f"{name} did not stop within {STOP_SECONDS} s: killed")
            process.kill()
            process.wait()

    def stop_all(self):
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for name in list(self.processes):
            self.stop(name)
        (self.directory / "stack.json").unlink(missing_ok=True)

    def remove_data(self):
        for service in self.services.values():
            for path in service.data:
                shutil.rmtree(path, ignore_errors=True)

    def _alive(self, name):
        process = self.processes.get(name)
        return process is not None and process.poll() is None

    def _launch(self, name):
        service = self.services[name]
        service.prepare()
        command, environment = service.command()
        if command is None:
            return
        with open(service.log, "ab") as log:
            self.processes[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory,
                env={**os.environ, **environment}, start_new_session=True, preexec_fn=_die_with(os.getpid()))

    def _await(self, name):
        begun = time.monotonic()
        attempt = 1
        while not self.services[name].ready():
            if not self._alive(name):
                if attempt == START_ATTEMPTS:
                    raise StackError(f"{name} ended with {self.processes[name].returncode} while starting:\n{self._tail(name)}")
                # Its ports may have been taken since they were found free.
                attempt += 1
                self.services[name] = parts.KINDS[name](self.directory)
                self._launch(name)
            if time.monotonic() - begun > READY_SECONDS:
                raise StackError(f"{name} was not ready within {READY_SECONDS} s:\n{self._tail(name)}")
            time.sleep(0.1)

    def _tail(self, name):
        log = self.services[name].log
        lines = log.read_text(errors="replace").splitlines()[-20:]
        return "\n".join([*lines, f"(whole log: {log})"])

    def _write_facts(self):
        facts = {"supervisor": os.getpid(), "parts": {}}
        for name, service in self.services.items():
            facts["parts"][name] = {**service.facts(), **({"log": str(service.log)} if service.log else {})}
            if name in self.processes:
                facts["parts"][name]["pid"] = self.processes[name].pid
        draft = self.directory / "stack.json.tmp"
        draft.write_text(json.dumps(facts, indent=1) + "\n")
        draft.rename(self.directory / "stack.json")


class Ended(Exception):
    """A signal asked the supervisor to end."""


def _on_signal(number, _frame):
    raise Ended(int(number))


def _claim(directory):
    """The control socket of a directory. Held by one supervisor; a second one is refused."""
    directory.mkdir(parents=True, exist_ok=True)
    os.chdir(directory)  # keeps the socket's path short: it may have 107 bytes
    control = socket.socket(socket.AF_UNIX)
    try:
        control.bind("control")
    except OSError:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect("control")
        except OSError:
            os.unlink("control")
            control.bind("control")
        else:
            raise StackError(f"a stack already runs in {directory}: tools/stack down --dir {directory}") from None
    control.listen()
    return control


def _supervise(directory, names, keep, while_running):
    # A supervisor is often told to end by two at once: by a closing pipe and by a signal.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _on_signal)
    control = _claim(directory)
    stack = Stack(directory, names)
    try:
        stack.start_all()
        return while_running(stack, control)
    except Ended as signalled:
        return 128 + signalled.args[0]
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        stack.stop_all()
        control.close()
        (directory / "control").unlink(missing_ok=True)
        if not keep:
            stack.remove_data()


def _answer(stack, control):
    connection, _ = control.accept()
    with connection:
        words = connection.recv(1024).decode().split()
        try:
            getattr(stack, {"stop": "stop", "start": "start"}[words[0]])(words[1])
            connection.sendall(b"ok\n")
        except (StackError, OSError, KeyError, IndexError) as error:
            connection.sendall(f"failed: {error}\n".encode())


def serve(directory, names, keep):
    """Prints the path of stack.json when everything answers; ends when standard input does."""
    def wait(stack, control):
        print(stack.directory / "stack.json", flush=True)
        while True:
            ready, _, _ = select.select([control, sys.stdin], [], [])
            if control in ready:
                _answer(stack, control)
            if sys.stdin in ready and not os.read(sys.stdin.fileno(), 4096):
                return 0
    return _supervise(directory, names, keep, wait)


def run(directory, names, command, keep):
    """Runs `command` beside the stack and returns its exit code."""
    def wait(stack, control):
        environment = {**os.environ, "SLUICE_TEST_STACK": str(stack.directory / "stack.json")}
        child = subprocess.Popen(command, env=environment, cwd=started_in, preexec_fn=_die_with(os.getpid()))
        try:
            while child.poll() is None:
                if select.select([control], [], [], 0.1)[0]:
                    _answer(stack, control)
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()
        return child.returncode if child.returncode >= 0 else 128 - child.returncode
    started_in = os.getcwd()
    return _supervise(directory, names, keep, wait)
