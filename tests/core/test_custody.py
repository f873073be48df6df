import itertools

import pytest

from gateway.core.custody import (
    UploadKeys,
    UploadSecrets,
    box_content,
    box_history,
    box_unfinished,
    box_upload,
    open_content,
    open_history,
    open_unfinished,
    open_upload,
)
from gateway.core.envelope import Content, encode_content
from gateway.core.errors import Malformed
from gateway.core.ids import AuthorityId, CaseId, Digest, MessageId
from keys.errors import CannotOpen
from keys.rest import Box, StorageKey

STORAGE = StorageKey.generate()
PEERS = (AuthorityId("qm.moj"), AuthorityId("qn.moj"))
IDS = ("5e0c8c1e-6a2c-4b0e-9b6e-4f0c1c1d2e3f", "0b9dbd2a-6a2c-4b0e-9b6e-4f0c1c1d2e3f")
CONTENT = Content("a.b.c", {Digest("aa" * 32): bytes(32)})
PLAINTEXT = encode_content(CONTENT.jws, CONTENT.blob_keys)


def test_each_value_opens_in_its_own_place_and_nowhere_else():
    places = list(itertools.product(("in", "out"), PEERS, map(MessageId, IDS)))
    for place in places:
        box = box_content(STORAGE, *place, PLAINTEXT)
        assert CONTENT.jws.encode() not in box.ciphertext
        for other in places:
            if other == place:
                assert open_content(STORAGE, *other, box) == CONTENT
            else:
                with pytest.raises(CannotOpen):
                    open_content(STORAGE, *other, box)
        with pytest.raises(CannotOpen):
            open_content(StorageKey.generate(), *place, box)


def test_erasing_the_wrapped_key_erases_the_content():
    box = box_content(STORAGE, "in", PEERS[0], MessageId(IDS[0]), PLAINTEXT)
    with pytest.raises(CannotOpen):
        open_content(STORAGE, "in", PEERS[0], MessageId(IDS[0]), Box(b"", box.ciphertext))


def test_histories_and_uploads():
    box = box_history(STORAGE, PEERS[0], CaseId(IDS[0]), b"[]")
    assert open_history(STORAGE, PEERS[0], CaseId(IDS[0]), box) == b"[]"
    for peer, case in ((PEERS[1], IDS[0]), (PEERS[0], IDS[1])):
        with pytest.raises(CannotOpen):
            open_history(STORAGE, peer, CaseId(case), box)
    key, digest = bytes(range(32)), Digest("ab" * 32)
    box = box_upload(STORAGE, IDS[0], key, digest)
    assert open_upload(STORAGE, IDS[0], box) == UploadSecrets(key, digest)
    with pytest.raises(CannotOpen):
        open_upload(STORAGE, IDS[1], box)
    keys = UploadKeys(key, bytes(32))
    unfinished = box_unfinished(STORAGE, IDS[0], keys)
    assert open_unfinished(STORAGE, IDS[0], unfinished) == keys
    for other, found in ((IDS[1], unfinished), (IDS[0], box)):
        with pytest.raises(CannotOpen):
            open_unfinished(STORAGE, other, found)
    with pytest.raises(CannotOpen):
        open_upload(STORAGE, IDS[0], unfinished)
    with pytest.raises(Malformed):
        open_unfinished(STORAGE, IDS[0], box_unfinished(STORAGE, IDS[0], UploadKeys(key, bytes(31))))


def test_no_value_opens_as_one_of_another_kind():
    case, message = CaseId(IDS[0]), MessageId(IDS[0])
    history = box_history(STORAGE, PEERS[0], case, PLAINTEXT)
    with pytest.raises(CannotOpen):
        open_content(STORAGE, "in", PEERS[0], message, history)
    with pytest.raises(CannotOpen):
        open_upload(STORAGE, IDS[0], history)


@pytest.mark.parametrize(("key", "digest"), [(bytes(31), "ab" * 32), (bytes(32), "ab")])
def test_an_upload_is_a_key_and_a_digest(key, digest):
    box = box_upload(STORAGE, IDS[0], key, Digest(digest))
    with pytest.raises(Malformed):
        open_upload(STORAGE, IDS[0], box)
