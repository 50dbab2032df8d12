"""A certificate authority of one stack, and what it signed: made on the spot, by openssl."""
import shutil
import subprocess

from report import StackError

DAYS = "3650"
NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
EXTENSIONS = {
    "broker": "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n",
    "client": "extendedKeyUsage=clientAuth\n",
}
# The distinguished name comes from the command line alone: an openssl without its openssl.cnf would not start.
CONFIG = """[req]
distinguished_name=name
x509_extensions=authority
[name]
[authority]
basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign
"""


def make(folder, client):
    """Fills `folder` unless it is there: ca.pem, broker.keystore.pem, client.pem and client.key (of CN=`client`)."""
    if folder.exists():
        return
    draft = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    (draft / "openssl.cnf").write_text(CONFIG)
    _openssl(draft, "req", "-config", "openssl.cnf", "-x509", *NEW_KEY, "-days", DAYS, "-subj", "/CN=sluice-test-ca",
             "-keyout", "ca.key", "-out", "ca.pem")
    _signed(draft, "broker", "localhost")
    _signed(draft, "client", client)
    # Key, then certificate: Kafka's PEM key store.
    keystore = (draft / "broker.key").read_text() + (draft / "broker.pem").read_text()
    (draft / "broker.keystore.pem").write_text(keystore)
    draft.rename(folder)


def _signed(folder, name, common_name):
    (folder / f"{name}.ext").write_text(EXTENSIONS[name])
    _openssl(folder, "req", "-config", "openssl.cnf", *NEW_KEY, "-subj", f"/CN={common_name}",
             "-keyout", f"{name}.key", "-out", f"{name}.csr")
    _openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
             "-days", DAYS, "-extfile", f"{name}.ext", "-out", f"{name}.pem")


def _openssl(folder, *arguments):
    program = shutil.which("openssl")
    if not program:
        raise StackError("no openssl found: install it (Debian: openssl); it makes the certificates of Kafka's TLS listeners")
    done = subprocess.run([program, *arguments], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        raise StackError(f"openssl {' '.join(arguments)} failed with {done.returncode}:\n{done.stderr}")
