"""Downloads: Maven and PyPI artefacts into one cache, each complete or absent."""
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

from report import StackError, say

HERE = Path(__file__).resolve().parent
REGISTRY_VERSION = "3.0.9"


def home():
    return Path(os.environ.get("SLUICE_STACK_HOME") or Path.home() / ".cache" / "sluice" / "stack")


def ensure(part):
    """Installs `part` unless it is there, and returns its folder. Safe to call from several processes at once."""
    sources, fill = PARTS[part]
    digest = hashlib.sha256(b"\0".join(source() if callable(source) else source.read_bytes() for source in sources))
    target = home() / f"{part}-{digest.hexdigest()[:12]}"
    if (target / ".complete").exists():
        return target
    home().mkdir(parents=True, exist_ok=True)
    with _lock(home() / f"{part}.lock"):
        if (target / ".complete").exists():
            return target
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        say(f"installing {part} into {target}")
        begun = time.monotonic()
        fill(target)
        (target / ".complete").touch()
        say(f"installed {part} in {time.monotonic() - begun:.0f} s")
    return target


@contextlib.contextmanager
def _lock(path):
    with open(path, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def java():
    """The `java` program, 17 or later."""
    program = shutil.which("java", path=f"{os.environ['JAVA_HOME']}/bin") if os.environ.get("JAVA_HOME") else None
    program = program or shutil.which("java")
    if not program:
        raise StackError("no java found: install a JDK 17 (Debian: openjdk-17-jdk-headless) or set JAVA_HOME")
    text = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', text)
    if not version or int(version.group(1)) < 17:
        raise StackError(f"{program} is not Java 17 or later: {text.splitlines()[0] if text else 'no answer'}")
    return program


def _maven(*arguments):
    program = shutil.which("mvn")
    if not program:
        raise StackError("no mvn found: install Maven (Debian: maven)")
    java()
    _checked([program, "-q", "-B", "-ntp", *arguments])


def _checked(command):
    # Registries answer "try again" now and then; a second and third try costs nothing when the first succeeds.
    for attempt in (1, 2, 3):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        if attempt < 3:
            time.sleep(2 * attempt)
    tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
    raise StackError(f"{' '.join(map(str, command))} failed with {done.returncode}:\n{tail}")


def _kafka(target):
    work = target / "work"
    work.mkdir()
    shutil.copy(HERE / "kafka" / "pom.xml", work / "pom.xml")
    _maven("-f", str(work / "pom.xml"), "dependency:copy-dependencies", "-DincludeScope=runtime",
           f"-DoutputDirectory={target / 'libs'}")
    shutil.rmtree(work)


def _registry(target):
    artefact = f"io.apicurio:apicurio-registry-app:{REGISTRY_VERSION}:tar.gz:all"
    _maven("dependency:copy", f"-Dartifact={artefact}", f"-DoutputDirectory={target / 'dl'}")
    with tarfile.open(target / "dl" / f"apicurio-registry-app-{REGISTRY_VERSION}-all.tar.gz") as archive:
        archive.extractall(target, filter="data")
    shutil.rmtree(target / "dl")


def _python(name):
    def fill(target):
        program = shutil.which("python3")
        _checked([program, "-m", "venv", str(target)])
        _checked([str(target / "bin" / "pip"), "install", "-q", "-r", str(HERE / name / "requirements.txt")])
    return fill


def _requirements(name):
    return [HERE / name / "requirements.txt"]


# What each part is made of (its folder's name changes with it), and how its folder is filled.
PARTS = {
    "kafka": ([HERE / "kafka" / "pom.xml"], _kafka),
    "registry": ([lambda: REGISTRY_VERSION.encode()], _registry),
    "seaweedfs": (_requirements("seaweedfs"), _python("seaweedfs")),
    "python": (_requirements("python"), _python("python")),
    "lint": (_requirements("lint"), _python("lint")),
}
