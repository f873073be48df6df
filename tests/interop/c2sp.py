"""Another implementation of the log formats, for tests only, from the standards' texts alone.

RFC 6962 §2.1 by its recursive definitions, C2SP signed-note v1.0.0, tlog-checkpoint v1.0.0,
tlog-cosignature v1.1.0-rc.1 and tlog-proof v1. It knows nothing of `gateway`; what both agree on
is hardly the same mistake twice. A function that verifies returns, or raises ValueError.
"""

import base64
import hashlib
import struct

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey


def sha256(data):
    return hashlib.sha256(data).digest()


def split(size):
    """Return the largest power of two smaller than *size* (RFC 6962 §2.1)."""
    power = 1
    while power * 2 < size:
        power *= 2
    return power


def tree_hash(entries):
    """MTH (RFC 6962 §2.1)."""
    if not entries:
        return sha256(b"")
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0])
    k = split(len(entries))
    return sha256(b"\x01" + tree_hash(entries[:k]) + tree_hash(entries[k:]))


def root_from_path(leaf, index, size, path):
    """Undo PATH (RFC 6962 §2.1.1): rebuild the root from the leaf hash outwards."""
    if not 0 <= index < size:
        raise ValueError("no such leaf")
    if size == 1:
        if path:
            raise ValueError("path too long")
        return leaf
    if not path:
        raise ValueError("path too short")
    k = split(size)
    if index < k:
        return sha256(b"\x01" + root_from_path(leaf, index, k, path[:-1]) + path[-1])
    return sha256(b"\x01" + path[-1] + root_from_path(leaf, index - k, size - k, path[:-1]))


def roots_from_proof(old, new, proof, old_root, *, whole=True):
    """Undo SUBPROOF (RFC 6962 §2.1.2): rebuild both roots."""
    if old == new:
        if whole:
            if proof:
                raise ValueError("proof too long")
            return old_root, old_root
        (only,) = proof
        return only, only
    if not proof:
        raise ValueError("proof too short")
    k = split(new)
    if old <= k:
        older, newer = roots_from_proof(old, k, proof[:-1], old_root, whole=whole)
        return older, sha256(b"\x01" + newer + proof[-1])
    older, newer = roots_from_proof(old - k, new - k, proof[:-1], old_root, whole=False)
    return sha256(b"\x01" + proof[-1] + older), sha256(b"\x01" + proof[-1] + newer)


def read_vkey(text):
    """`<key name>+hex(32-bit key ID)+base64(signature type || public key)`."""
    name, key_id, encoded = text.split("+", 2)
    key = base64.b64decode(encoded, validate=True)
    if sha256(name.encode() + b"\n" + key)[:4].hex() != key_id:
        raise ValueError("key id")
    return name, bytes.fromhex(key_id), key[0], key[1:]


def read_note(note):
    """Return the text, and the signature lines as (name, key id, signature)."""
    text, lines = note[: note.rindex("\n\n") + 1], note[note.rindex("\n\n") + 2 :]
    found = []
    for line in lines.splitlines():
        dash, name, encoded = line.split(" ")
        if dash != "\u2014":
            raise ValueError("signature line")
        data = base64.b64decode(encoded, validate=True)
        found.append((name, data[:4], data[4:]))
    return text, found


def verify_note(note, vkey):
    """Return the text of *note* and the timestamp (or None) under which *vkey* signed it."""
    name, key_id, kind, public = read_vkey(vkey)
    text, signatures = read_note(note)
    (signature,) = [s for n, k, s in signatures if (n, k) == (name, key_id)]
    try:
        return text, {1: _ed25519, 4: _cosignature, 6: _lattice}[kind](name, public, signature, text)
    except InvalidSignature:
        raise ValueError("signature") from None


def _ed25519(_name, public, signature, text):
    Ed25519PublicKey.from_public_bytes(public).verify(signature, text.encode())


def _cosignature(_name, public, signature, text):
    (time,) = struct.unpack(">Q", signature[:8])
    message = f"cosignature/v1\ntime {time}\n{text}".encode()
    Ed25519PublicKey.from_public_bytes(public).verify(signature[8:], message)
    return time


def _lattice(name, public, signature, text):
    (time,) = struct.unpack(">Q", signature[:8])
    origin, size, encoded = text.split("\n")[:3]
    message = b"subtree/v1\n\0"
    message += struct.pack("B", len(name.encode())) + name.encode() + struct.pack(">Q", time)
    message += struct.pack("B", len(origin.encode())) + origin.encode()
    message += struct.pack(">QQ32s", 0, int(size), base64.b64decode(encoded))
    MLDSA44PublicKey.from_public_bytes(public).verify(signature[8:], message)
    return time


def verify_proof(text, leaf, vkeys):
    """Check that *leaf* is in the log that signed the checkpoint of a tlog-proof with all *vkeys*."""
    head, note = text.split("\n\n", 1)
    magic, index, *hashes = head.split("\n")
    if magic != "c2sp.org/tlog-proof@v1" or not index.startswith("index "):
        raise ValueError("not a proof")
    for vkey in vkeys:
        body, _ = verify_note(note, vkey)
    origin, size, root, rest = body.split("\n", 3)
    if rest or origin != read_vkey(vkeys[0])[0]:
        raise ValueError("not a checkpoint of this log")
    path = [base64.b64decode(line, validate=True) for line in hashes]
    found = root_from_path(sha256(b"\x00" + leaf), int(index.removeprefix("index ")), int(size), path)
    if found != base64.b64decode(root):
        raise ValueError("not included")
    return int(size)
