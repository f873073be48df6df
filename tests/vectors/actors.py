"""Two authorities whose keys come from seeds: what is derived from them is the same on every run.

Certificates (ECDSA), ML-DSA-44 signatures and HPKE are not: those bytes are kept in base.json.
"""

import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.core.card import Certificate, Plan, PublicKey, Window, build_card
from gateway.core.ids import AuthorityId
from gateway.core.note import LogIdentity, WitnessIdentity
from gateway.core.strict import parse_time
from keys.sealing import SealingKey
from keys.signing import LatticeKey, LogKeys, SigningKey

ISSUED_MS = parse_time("2026-11-01T00:00:00.000Z")
EXPIRES_MS = parse_time("2028-11-01T00:00:00.000Z")
WINDOW = Window(ISSUED_MS, EXPIRES_MS)


@dataclass(frozen=True)
class Actor:
    """An authority by its id; `role` names make further keys."""

    id: AuthorityId

    def seed(self, role: str) -> bytes:
        return hashlib.sha256(f"art18 test vectors: {self.id} {role}".encode()).digest()

    def signer(self, role: str) -> SigningKey:
        return SigningKey.from_bytes(self.seed(role))

    @property
    def root(self) -> SigningKey:
        return self.signer("root")

    @property
    def sealing(self) -> SealingKey:
        return SealingKey.from_bytes(b"".join(self.seed(f"sealing {part}") for part in range(3)))

    def log_keys(self, role: str = "log") -> LogKeys:
        return LogKeys(self.signer(role), LatticeKey.from_seed(self.seed(f"{role} ML-DSA-44")))

    @property
    def domain(self) -> str:
        return f"{self.id.replace('.', '-')}.example"

    def log(self, role: str = "log", epoch: int = 1) -> LogIdentity:
        keys = self.log_keys(role)
        return LogIdentity(f"{self.domain}/audit/{epoch}", keys.ed.public, keys.lattice.public)

    def witness(self, role: str = "witness") -> WitnessIdentity:
        keys = self.log_keys(role)
        return WitnessIdentity(f"{self.domain}/witness", keys.ed.public, keys.lattice.public)

    def plan(self, certificate: bytes) -> Plan:
        signing, sealing = self.signer("signing"), self.sealing
        return Plan(
            authority=self.id,
            sequence=1,
            previous=None,
            issued_ms=ISSUED_MS,
            expires_ms=EXPIRES_MS,
            root=(self.root.public,),
            signing=(PublicKey(signing.kid, signing.public, WINDOW),),
            sealing=(PublicKey(sealing.kid, sealing.public, WINDOW),),
            tls=(Certificate(certificate, WINDOW),),
            log=self.log(),
            witness=self.witness(),
            endpoints=(f"https://gateway.{self.domain}:8443",),
        )

    def card(self, certificate: bytes) -> bytes:
        return build_card(self.plan(certificate), [self.root])


QM, QN = Actor(AuthorityId("qm.moj")), Actor(AuthorityId("qn.moj"))


def twin(der: bytes) -> bytes:
    """Return another certificate with the subject of *der*."""
    old, key = x509.load_der_x509_certificate(der), ec.generate_private_key(ec.SECP256R1())
    made = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(old.not_valid_before_utc)
        .not_valid_after(old.not_valid_after_utc)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.DER)
