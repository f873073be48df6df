import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import Malformed, Misuse, NotIncluded
from gateway.core.merkle import (
    EMPTY_ROOT,
    HASH_BYTES,
    Frontier,
    consistency,
    consistency_nodes,
    cover,
    inclusion,
    inclusion_nodes,
    leaf_hash,
    levels,
    node_hash,
    peak_nodes,
    range_frontier,
    range_nodes,
    root,
    verify_consistency,
    verify_inclusion,
    verify_range,
)

LARGEST = 130
LEAVES = [leaf_hash(b"entry %d" % number) for number in range(LARGEST)]


def tree_head(leaves):
    """MTH of RFC 6962 §2.1, as it is written there."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(tree_head(leaves[:split]), tree_head(leaves[split:]))


def path(index, leaves):
    """PATH of RFC 6962 §2.1.1, as it is written there."""
    if len(leaves) == 1:
        return []
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    if index < split:
        return [*path(index, leaves[:split]), tree_head(leaves[split:])]
    return [*path(index - split, leaves[split:]), tree_head(leaves[:split])]


def subproof(old, leaves, *, whole):
    """SUBPROOF of RFC 6962 §2.1.2, as it is written there."""
    if old == len(leaves):
        return [] if whole else [tree_head(leaves)]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    if old <= split:
        return [*subproof(old, leaves[:split], whole=whole), tree_head(leaves[split:])]
    return [*subproof(old - split, leaves[split:], whole=False), tree_head(leaves[:split])]


ROOTS = [tree_head(LEAVES[:size]) for size in range(LARGEST + 1)]
NODES = {(level, index): digest for level, index, digest in Frontier().append(LEAVES)[1]}


def node(level, index):
    return NODES[level, index]


def complete_at(size):
    """Return a getter that knows only what a log of *size* has stored."""

    def get(level, index):
        assert (index + 1) << level <= size
        return NODES[level, index]

    return get


def altered(proof, leaf, last):
    """Yield every class of wrong proof: a bit, an order, a length, the leaf itself."""
    for place in range(len(proof)):
        for bit in (0, 7):
            flipped = bytes([proof[place][0] ^ (1 << bit)]) + proof[place][1:]
            yield [*proof[:place], flipped, *proof[place + 1 :]]
        yield [*proof[:place], *proof[place + 1 :]]
        if place + 1 < len(proof):
            yield [*proof[:place], proof[place + 1], proof[place], *proof[place + 2 :]]
    yield [*proof, last]
    yield [leaf, *proof]


def test_hashes_keep_leaves_and_nodes_apart():
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    # Published with Certificate Transparency's reference tests: the leaf "", and root of 8 leaves.
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    inputs = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ]
    eight = root(leaf_hash(bytes.fromhex(text)) for text in inputs)
    assert eight.hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
    assert leaf_hash(b"a" + b"b") != node_hash(b"a", b"b")


@pytest.mark.parametrize("size", range(LARGEST + 1))
def test_the_root_and_what_is_stored(size):
    frontier, made = Frontier().append(LEAVES[:size])
    assert (frontier.size, frontier.root(), root(LEAVES[:size])) == (size, ROOTS[size], ROOTS[size])
    assert list(frontier.peaks) == [node(*place) for place in peak_nodes(size)]
    expected = {(level, index) for level in range(8) for index in range(size >> level)}
    assert {(level, index) for level, index, _ in made} == expected
    for level, index, digest in made:
        assert digest == tree_head(LEAVES[index << level : (index + 1) << level])


@given(st.lists(st.integers(0, 40), max_size=8))
def test_appending_in_any_portions_is_the_same(portions):
    frontier, made = Frontier(), []
    for portion in portions:
        frontier, more = frontier.append(LEAVES[frontier.size : min(frontier.size + portion, LARGEST)])
        made += more
    assert frontier == Frontier().append(LEAVES[: frontier.size])[0]
    assert len(made) == len({(level, index) for level, index, _ in made})


def test_a_frontier_fits_its_size():
    with pytest.raises(Malformed):
        Frontier(3, (bytes(32),))


@pytest.mark.parametrize("size", range(1, LARGEST + 1))
def test_every_inclusion_proof_and_nothing_else(size):
    for index in range(size):
        proof = inclusion(index, size, complete_at(size))
        assert proof == path(index, LEAVES[:size])
        verify_inclusion(LEAVES[index], index, size, proof, ROOTS[size])
        wrong = [
            (LEAVES[index], index, size, ROOTS[size - 1]),
            (ROOTS[size] if size > 1 else bytes(32), index, size, ROOTS[size]),
            (LEAVES[index], size, size, ROOTS[size]),
            (LEAVES[index], -1, size, ROOTS[size]),
            *(
                (LEAVES[index], other, size, ROOTS[size])
                for other in {index ^ 1, index + 2, index - 1} - {index}
            ),
        ]
        for leaf, place, of, head in wrong:
            with pytest.raises(NotIncluded):
                verify_inclusion(leaf, place, of, proof, head)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 31, 33, 64, 100, 127, 130])
def test_every_altered_inclusion_proof_is_refused(size):
    for index in range(size):
        proof = inclusion(index, size, node)
        for changed in altered(proof, LEAVES[index], ROOTS[size]):
            with pytest.raises(NotIncluded):
                verify_inclusion(LEAVES[index], index, size, changed, ROOTS[size])


def test_a_proof_of_another_size_leads_nowhere():
    # A size may take the same way as another (§2.1.3.2 walks by bits), but never to the same root.
    for size in range(1, 70):
        for index in range(size):
            proof = inclusion(index, size, node)
            for other in range(index + 1, 70):
                if other != size:
                    with pytest.raises(NotIncluded):
                        verify_inclusion(LEAVES[index], index, other, proof, ROOTS[other])


@pytest.mark.parametrize("new", range(LARGEST + 1))
def test_every_consistency_proof_and_nothing_else(new):
    for old in range(new + 1):
        proof = consistency(old, new, complete_at(new))
        assert proof == (subproof(old, LEAVES[:new], whole=True) if old else [])
        verify_consistency(old, new, ROOTS[old], ROOTS[new], proof)
        for old_root, new_root in (
            (bytes(32), ROOTS[new]),
            (ROOTS[old], bytes(32)),
            (ROOTS[new], ROOTS[old]),
        ):
            if (old_root, new_root) == (ROOTS[old], ROOTS[new]) or (old == 0 and old_root == ROOTS[0]):
                continue  # every tree begins with the empty one
            with pytest.raises(NotIncluded):
                verify_consistency(old, new, old_root, new_root, proof)
        with pytest.raises(NotIncluded):
            verify_consistency(new + 1, new, ROOTS[old], ROOTS[new], proof)


@pytest.mark.parametrize("new", [2, 3, 7, 8, 9, 33, 64, 100, 130])
def test_every_altered_consistency_proof_is_refused(new):
    for old in range(new + 1):
        proof = consistency(old, new, node)
        for changed in altered(proof, ROOTS[old], ROOTS[new]):
            with pytest.raises(NotIncluded):
                verify_consistency(old, new, ROOTS[old], ROOTS[new], changed)


def test_a_forked_log_has_no_consistency_proof():
    fork = [*LEAVES[:40], leaf_hash(b"another"), *LEAVES[41:80]]
    nodes = {(level, index): digest for level, index, digest in Frontier().append(fork)[1]}
    for old in range(41, 81):
        proof = consistency(old, 80, lambda level, index: nodes[level, index])
        with pytest.raises(NotIncluded):
            verify_consistency(old, 80, ROOTS[old], root(fork), proof)


def test_no_proof_is_made_of_what_is_not_there():
    for index, size in ((0, 0), (5, 5), (-1, 5)):
        with pytest.raises(Misuse):
            inclusion(index, size, node)
        with pytest.raises(Misuse):
            inclusion_nodes(index, size)
    for old, new in ((2, 1), (-1, 4)):
        with pytest.raises(Misuse):
            consistency(old, new, node)


@given(st.integers(1, 2**53 - 1), st.data())
def test_proofs_in_the_largest_trees_stay_small(size, data):
    index = data.draw(st.integers(0, size - 1))
    assert len(inclusion_nodes(index, size)) <= 53 + 53
    assert len(inclusion(index, size, lambda *_: bytes(32))) <= 53
    old = data.draw(st.integers(0, size))
    assert len(consistency_nodes(old, size)) == len(set(consistency_nodes(old, size))) <= 53 + 53


def flipped(digest):
    """Yield *digest* with each of its bits flipped."""
    for bit in range(8 * len(digest)):
        changed = bytearray(digest)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)


@pytest.mark.parametrize("size", [2, 7, 8, 13, 130])
def test_any_bit_of_a_proof_counts(size):
    for index in {0, size // 2, size - 1}:
        proof = inclusion(index, size, node)
        for place, digest in enumerate(proof):
            for changed in flipped(digest):
                wrong = [*proof[:place], changed, *proof[place + 1 :]]
                with pytest.raises(NotIncluded):
                    verify_inclusion(LEAVES[index], index, size, wrong, ROOTS[size])
    for old in {1, size // 2, size - 1}:
        proof = consistency(old, size, node)
        for place, digest in enumerate(proof):
            for changed in flipped(digest):
                wrong = [*proof[:place], changed, *proof[place + 1 :]]
                with pytest.raises(NotIncluded):
                    verify_consistency(old, size, ROOTS[old], ROOTS[size], wrong)


@pytest.mark.parametrize("size", range(LARGEST + 1))
def test_every_altered_proof_is_refused_at_every_size(size):
    """One bit of each hash of every proof up to the largest size; which bit depends on where it is."""
    for index in range(size):
        proof = inclusion(index, size, node)
        for place, digest in enumerate(proof):
            at = (index + place) % HASH_BYTES
            changed = bytes([*digest[:at], digest[at] ^ 1 << index % 8, *digest[at + 1 :]])
            with pytest.raises(NotIncluded):
                verify_inclusion(
                    LEAVES[index], index, size, [*proof[:place], changed, *proof[place + 1 :]], ROOTS[size]
                )
    for old in range(1, size):
        proof = consistency(old, size, node)
        for place, digest in enumerate(proof):
            at = (old + place) % HASH_BYTES
            changed = bytes([*digest[:at], digest[at] ^ 1 << old % 8, *digest[at + 1 :]])
            with pytest.raises(NotIncluded):
                verify_consistency(
                    old, size, ROOTS[old], ROOTS[size], [*proof[:place], changed, *proof[place + 1 :]]
                )


# -- ranges


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 16, 33, 64, 65])
def test_every_range_is_proved_by_its_leaves(size):
    for start in range(size + 1):
        for end in range(start, size + 1):
            left, right = (
                [complete_at(size)(*place) for place in places] for places in range_nodes(start, end, size)
            )
            before = range_frontier(start, left).extended(LEAVES[start:end])
            assert before == Frontier().append(LEAVES[:end])[0]
            verify_range(before, size, right, ROOTS[size])


@pytest.mark.parametrize("size", [5, 8, 21])
def test_every_altered_range_is_refused(size):
    for start in range(size):
        for end in range(start + 1, size + 1):
            left, right = ([node(*place) for place in places] for places in range_nodes(start, end, size))
            leaves = LEAVES[start:end]
            for changed in (
                *(
                    (left, [*leaves[:place], bytes(32), *leaves[place + 1 :]], right)
                    for place in range(len(leaves))
                ),
                *(
                    ([*left[:place], bytes(32), *left[place + 1 :]], leaves, right)
                    for place in range(len(left))
                ),
                *(
                    (left, leaves, [*right[:place], bytes(32), *right[place + 1 :]])
                    for place in range(len(right))
                ),
                (left, leaves[:-1], right),
                (left, [*leaves, bytes(32)], right),
                (left, leaves, [*right, bytes(32)]),
                ([*left, bytes(32)], leaves, right),
                *([(left, [leaves[1], leaves[0], *leaves[2:]], right)] if len(leaves) > 1 else []),
            ):
                with pytest.raises(NotIncluded):
                    verify_range(
                        range_frontier(start, changed[0]).extended(changed[1]), size, changed[2], ROOTS[size]
                    )


def test_no_range_is_proved_that_is_not_there():
    for start, end, size in ((0, 6, 5), (3, 2, 5), (-1, 2, 5)):
        with pytest.raises(Misuse):
            range_nodes(start, end, size)


@given(st.integers(0, LARGEST), st.integers(0, LARGEST))
def test_a_cover_has_each_leaf_once_and_few_nodes(start, end):
    nodes = cover(start, end)
    leaves = [leaf for level, index in nodes for leaf in range(index << level, (index + 1) << level)]
    assert leaves == list(range(start, end))
    assert len(nodes) <= 2 * LARGEST.bit_length()


@given(st.lists(st.integers(0, 60), max_size=5))
def test_extending_is_appending(portions):
    frontier = Frontier()
    for portion in portions:
        more = LEAVES[frontier.size : min(frontier.size + portion, LARGEST)]
        assert frontier.extended(more) == frontier.append(more)[0]
        frontier = frontier.extended(more)


def test_levels_are_the_complete_nodes():
    made = levels(LEAVES)
    assert {
        (level, at): digest for level, found in enumerate(made) for at, digest in enumerate(found)
    } == NODES


def test_no_subtree_is_grafted_where_none_begins():
    with pytest.raises(Misuse):
        Frontier().append(LEAVES[:3])[0].grafted(1, bytes(32))
