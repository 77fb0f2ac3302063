"""Certificates for the TLS listeners of test brokers, made by openssl."""

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

# Spelled out, since the defaults of openssl differ between systems, and since
# Python 3.13 verifies strictly (RFC 5280: key usage, key identifiers).
CONFIG = """
[req]
distinguished_name = name
prompt = no
[name]
CN = test
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[ca]
default_ca = main
[main]
new_certs_dir = .
serial = serial
database = index.txt
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[leaf]
basicConstraints = CA:FALSE
keyUsage = digitalSignature
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""
LOCAL = "DNS:localhost, IP:127.0.0.1"
PASSWORD = "secret"
# Elliptic keys, because making RSA keys takes a second each.
NEW_KEY = ("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    certificate: Path
    key: Path


class Authority:
    """A certificate authority, with its files in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.ca_file = directory / "ca.crt"
        (directory / "ca.cnf").write_text(CONFIG)
        (directory / "index.txt").touch()
        self._openssl(*NEW_KEY, "-out", "ca.key")
        self._openssl("req", "-x509", "-new", "-config", "ca.cnf", "-days", "30",
                      "-extensions", "authority", "-subj", "/CN=aiomqtt test authority",
                      "-key", "ca.key", "-out", "ca.crt")  # fmt: skip

    def sign(
        self,
        name: str,
        usage: str = "serverAuth",
        names: str = LOCAL,
        *,
        encrypted: bool = False,
        valid: tuple[timedelta, timedelta] = (-DAY, 30 * DAY),
        is_self_signed: bool = False,
    ) -> Pair:
        """Make a key and its certificate, valid for this time from now on."""
        config = f"{name}.cnf"
        extra = f"extendedKeyUsage = {usage}\nsubjectAltName = {names}\n"
        (self.directory / config).write_text(CONFIG + extra)
        key, request, cert = f"{name}.key", f"{name}.csr", f"{name}.crt"
        password = ("-aes256", "-pass", f"pass:{PASSWORD}") if encrypted else ()
        self._openssl(*NEW_KEY, "-out", key, *password)
        self._openssl("req", "-new", "-config", config, "-subj", f"/CN={name}",
                      "-key", key, "-passin", f"pass:{PASSWORD}",
                      "-out", request)  # fmt: skip
        signer = ["-cert", "ca.crt", "-keyfile", "ca.key"]
        if is_self_signed:
            signer = ["-selfsign", "-keyfile", key]
        start, end = (datetime.now(UTC) + time for time in valid)
        self._openssl("ca", "-batch", "-notext", "-rand_serial", "-config", config,
                      "-extensions", "leaf", "-in", request, "-out", cert, *signer,
                      "-startdate", f"{start:%Y%m%d%H%M%SZ}",
                      "-enddate", f"{end:%Y%m%d%H%M%SZ}")  # fmt: skip
        return Pair(self.directory / cert, self.directory / key)

    def _openssl(self, *arguments: str) -> None:
        result = subprocess.run(
            ["openssl", *arguments],
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert result.returncode == 0, f"openssl {arguments}:\n{result.stdout}"


@dataclass(frozen=True)
class Certificates:
    authority: Authority
    ca_file: Path
    server: Pair  # for localhost and 127.0.0.1
    wrong_name: Pair  # for another host
    client: Pair  # its key is encrypted with `client_key_password`
    client_key_password: str = PASSWORD


def make_certificates(directory: Path) -> Certificates:
    """Make a certificate authority and what it signs, in `directory`."""
    authority = Authority(directory)
    return Certificates(
        authority=authority,
        ca_file=authority.ca_file,
        server=authority.sign("localhost"),
        wrong_name=authority.sign("wrong", names="DNS:wrong.example"),
        client=authority.sign(
            "client", "clientAuth", "DNS:client.example", encrypted=True
        ),
    )
