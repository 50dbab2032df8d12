"""The services: how each is prepared, started, and known to be ready."""
import base64
import http.client
import random
import re
import socket
import struct
import subprocess
import uuid
from pathlib import Path

import certificates
import install
from report import StackError

JVM = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError"]


def free_ports(count):
    """Ports that nobody listens on: outside of the range from which the kernel takes those of outgoing connections."""
    chosen = []
    while len(chosen) < count:
        port = random.SystemRandom().randrange(15000, 22000)
        # SeaweedFS adds 10000 to its ports without asking.
        if port not in chosen and all(_is_free(p) for p in (port, port + 10000)):
            chosen.append(port)
    return chosen


def _is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _answers(port, path):
    """True when GET answers 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Kafka:
    """One KRaft node, broker and controller. Its users may do nothing until a test gives them ACLs."""

    SCRAM_USER, SCRAM_PASSWORD = "alice", "alice-secret"
    PLAIN_USER, PLAIN_PASSWORD = "bob", "bob-secret"
    CERTIFICATE_USER = "carol"

    def __init__(self, directory):
        self.directory = directory / "kafka"
        self.port, self.controller_port, self.sasl_ssl_port, self.ssl_port = free_ports(4)
        self.libs = install.ensure("kafka") / "libs"
        self.config = self.directory / "server.properties"
        self.certificates = self.directory / "certificates"
        self.log = directory / "logs" / "kafka.log"
        self.data = [self.directory]

    def prepare(self):
        """Writes the configuration for its ports, makes certificates, and formats the data folder unless it is formatted."""
        data = self.directory / "data"
        self.directory.mkdir(parents=True, exist_ok=True)
        text = (install.HERE / "kafka" / "server.properties").read_text()
        values = {"PORT": self.port, "CONTROLLER_PORT": self.controller_port, "SASL_SSL_PORT": self.sasl_ssl_port,
                  "SSL_PORT": self.ssl_port, "CERTIFICATES": self.certificates, "PLAIN_USER": self.PLAIN_USER,
                  "PLAIN_PASSWORD": self.PLAIN_PASSWORD, "DATA": data}
        self.config.write_text(re.sub(r"@(\w+)@", lambda m: str(values[m[1]]), text))
        certificates.make(self.certificates, self.CERTIFICATE_USER)
        if (data / "meta.properties").exists():
            return
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        scram = [f"{mechanism}=[name={self.SCRAM_USER},password={self.SCRAM_PASSWORD}]"
                 for mechanism in ("SCRAM-SHA-512", "SCRAM-SHA-256")]
        command = self._java("-Xmx128m", "kafka.tools.StorageTool", "format", "--standalone", "-t",
                             "c" + cluster[1:], "-c", str(self.config),
                             *(word for user in scram for word in ("--add-scram", user)))
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StackError(f"Kafka's storage could not be formatted:\n{done.stdout}{done.stderr}")

    def _java(self, heap, *arguments):
        logging = f"-Dlog4j2.configurationFile={install.HERE / 'kafka' / 'log4j2.properties'}"
        return [install.java(), heap, *JVM, logging, "-cp", f"{self.libs}/*", *arguments]

    def command(self):
        return self._java("-Xmx512m", "kafka.Kafka", str(self.config)), {}

    def ready(self):
        """The broker itself stands in its metadata, as it does once it is registered and unfenced."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                return _brokers(connection) == 1
        except (OSError, struct.error):
            return False

    def facts(self):
        return {"bootstrap_servers": f"127.0.0.1:{self.port}",
                "sasl_ssl": f"127.0.0.1:{self.sasl_ssl_port}",
                "scram_user": self.SCRAM_USER, "scram_password": self.SCRAM_PASSWORD,
                "plain_user": self.PLAIN_USER, "plain_password": self.PLAIN_PASSWORD,
                "ssl": f"127.0.0.1:{self.ssl_port}",
                "ca": str(self.certificates / "ca.pem"),
                "certificate": str(self.certificates / "client.pem"),
                "certificate_key": str(self.certificates / "client.key"),
                "certificate_user": self.CERTIFICATE_USER}


def _brokers(connection):
    """How many brokers a Metadata request (api key 3, version 1, no topics) names."""
    body = struct.pack(">hhih", 3, 1, 7, -1) + struct.pack(">i", 0)
    connection.sendall(struct.pack(">i", len(body)) + body)
    answer = b""
    while len(answer) < 12:
        more = connection.recv(65536)
        if not more:
            return 0
        answer += more
    _, correlation, brokers = struct.unpack(">iii", answer[:12])
    return brokers if correlation == 7 else 0


class Registry:
    """Apicurio with the Confluent API, in memory."""

    def __init__(self, directory):
        self.port, self.management_port = free_ports(2)
        self.home = install.ensure("registry")
        self.log = directory / "logs" / "registry.log"
        self.data = []

    def prepare(self):
        pass

    def command(self):
        jar = self.home / f"apicurio-registry-app-{install.REGISTRY_VERSION}-runner.jar"
        return [install.java(), "-Xmx384m", *JVM,
                "-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={self.port}",
                "-Dquarkus.management.host=127.0.0.1", f"-Dquarkus.management.port={self.management_port}",
                "-Dquarkus.log.level=WARN", "-jar", str(jar)], {}

    def ready(self):
        return _answers(self.port, "/apis/ccompat/v7/subjects")

    def facts(self):
        return {"url": f"http://127.0.0.1:{self.port}/apis/ccompat/v7"}


class SeaweedFs:
    """An object store with the S3 API and an Iceberg REST catalog, in one process."""

    USER, SECRET, BUCKET = "admin", "secretsecret", "lake"

    def __init__(self, directory):
        self.directory = directory / "seaweedfs"
        self.s3, self.rest, *self.others = free_ports(6)
        self.home = install.ensure("seaweedfs")
        self.log = directory / "logs" / "seaweedfs.log"
        self.data = [self.directory]

    def prepare(self):
        self.directory.mkdir(parents=True, exist_ok=True)

    def command(self):
        master, filer, volume, admin = self.others
        return [str(self.home / "bin" / "weed"), "mini", f"-dir={self.directory}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
                "-admin.ui=false", "-webdav=false", "-master.telemetry=false", "-bucket=warehouse",
                f"-tableBucket={self.BUCKET}", f"-s3.port={self.s3}", f"-s3.port.iceberg={self.rest}", "-s3.port.lance=0",
                f"-master.port={master}", f"-filer.port={filer}", f"-volume.port={volume}", f"-admin.port={admin}",
                ], {"AWS_ACCESS_KEY_ID": self.USER, "AWS_SECRET_ACCESS_KEY": self.SECRET}

    def ready(self):
        return _answers(self.rest, "/v1/config")

    def facts(self):
        return {"catalog_uri": f"http://127.0.0.1:{self.rest}", "warehouse": f"s3://{self.BUCKET}",
                "s3_endpoint": f"http://127.0.0.1:{self.s3}", "user": self.USER, "secret": self.SECRET}


class Python:
    """No service: the interpreter with pyiceberg and DuckDB."""

    log = None
    data = []

    def __init__(self, _directory):
        self.program = Path(install.ensure("python")) / "bin" / "python"

    def prepare(self):
        pass

    def command(self):
        return None, {}

    def ready(self):
        return True

    def facts(self):
        return {"program": str(self.program)}


KINDS = {"kafka": Kafka, "registry": Registry, "seaweedfs": SeaweedFs, "python": Python}
