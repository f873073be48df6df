"""Attachments sealed and opened whole, as whoever has all of one in memory would."""

from keys.stream import CHUNK, TAG, check_length, chunk_count, open_chunk, seal_chunk


def sealed(key: bytes, plain: bytes) -> bytes:
    """Return *plain* in its encrypted form under *key*."""
    final = chunk_count(len(plain)) - 1
    return b"".join(
        seal_chunk(key, index, plain[index * CHUNK :][:CHUNK], last=index == final)
        for index in range(final + 1)
    )


def opened(key: bytes, blob: bytes, size: int) -> bytes:
    """Return the plaintext of *blob*, if it is *size* bytes in their encrypted form. Raises CannotOpen."""
    check_length(len(blob), size)
    chunks = chunk_count(size)
    return b"".join(
        open_chunk(key, index, chunk, last=index == chunks - 1, chunks=chunks)
        for index, chunk in enumerate(chunks_of(blob))
    )


def chunks_of(blob: bytes) -> list[bytes]:
    """Return *blob* cut into its sealed chunks."""
    return [blob[at : at + CHUNK + TAG] for at in range(0, len(blob), CHUNK + TAG)]
