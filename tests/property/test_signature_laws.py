"""Signatures: what one is over, and who is believed by it. Vectors are RFC 8032's own."""

import dataclasses
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from sie_config.keys.key_file import begin_change, key_of_log, make_key, read_key
from sie_config.keys.log_keys import LogKeys
from sie_config.log.replay import Replayed
from sie_core.chain import is_of_lineage
from sie_core.trust import Trust, keys_of
from sie_runtime.signing import SigningKey, verify
from sie_schemas.entry import parse_envelope, to_envelope, to_stub
from sie_schemas.errors import Untrusted
from sie_schemas.signature import PublicKey, Signature, signed_bytes
from sie_testing.signing import FIRST_CONTACT, PINNED, STRANGER, WRITER_KEY
from sie_testing.written_log import WrittenLog

FIELDS = st.tuples(st.text(), st.integers(0, 2**60), st.text(), st.text(), st.text())
RFC_8032 = [
    # Section 7.1, TEST 1 to 3: secret key, public key, message, signature.
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("secret", "public", "message", "signature"), RFC_8032)
def test_the_arithmetic_is_that_of_the_standard(secret, public, message, signature):
    key = SigningKey.of_seed(bytes.fromhex(secret))
    assert key.public.hex() == public
    assert key.private.sign(bytes.fromhex(message)).hex() == signature
    assert verify(bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature))
    assert not verify(bytes.fromhex(public), b"another", bytes.fromhex(signature))


@given(FIELDS, FIELDS)
def test_no_two_positions_are_signed_as_one(one, other):
    assert (signed_bytes(*one) == signed_bytes(*other)) == (one == other)


@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=80))
def test_what_is_no_key_and_no_signature_is_a_plain_no(public, message, signature):
    assert verify(public, message, signature) is False


@given(st.integers(0, 5), st.sampled_from(["log_id", "epoch", "hash", "state_digest"]))
def test_a_signature_is_of_one_position_alone(puts, field):
    log = WrittenLog()
    for number in range(puts):
        log.put("model", f"m{number}", {})
    entry = log.entries[-1]
    assert PINNED.accepts(entry)
    other = entry.epoch + 1 if field == "epoch" else "0" * 32
    assert not PINNED.accepts(msgspec.structs.replace(entry, **{field: other}))
    assert not Trust(verify, STRANGER.public).accepts(entry)


@pytest.mark.parametrize("encode", [to_envelope, to_stub])
def test_a_signature_travels_beside_the_entry_and_moves_no_byte_of_it(encode):
    entry = WrittenLog().entries[0]
    bare = msgspec.structs.replace(entry, signature=None)
    assert parse_envelope(encode(entry)).signature == entry.signature
    assert parse_envelope(encode(bare)).signature is None
    assert (entry.body, entry.hash) == (bare.body, bare.hash)


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.data())
def test_what_is_covered_is_a_prefix_that_ends_with_the_writers_word(signed, data):
    log = WrittenLog()
    for number, _ in enumerate(signed[1:]):
        log.put("model", f"m{number}", {})
    forged = data.draw(st.sets(st.integers(0, len(signed) - 1)))
    run = [
        entry
        if is_signed
        else msgspec.structs.replace(
            STRANGER.signed(entry),
            **({} if number in forged else {"signature": None}),
        )
        for number, (entry, is_signed) in enumerate(zip(log.entries, signed, strict=True))
    ]
    coverage = PINNED.covered(run)
    last = max((number for number, is_signed in enumerate(signed) if is_signed), default=-1)
    assert coverage.count == last + 1
    assert all(
        entry.signature != log.entries[entry.epoch - 1].signature for entry in coverage.forged
    )
    kept = PINNED.proven(run)
    assert [entry.hash for entry in kept] == [entry.hash for entry in run[: last + 1]]
    assert all(entry.signature is None or PINNED.accepts(entry) for entry in kept)


@given(st.integers(0, 4), st.data())
def test_a_reader_walks_from_key_to_key_and_takes_none_that_the_last_did_not_sign(changes, data):
    log = WrittenLog()
    keys = [WRITER_KEY]
    for number in range(changes):
        keys.append(SigningKey.of_seed(bytes([number]) * 32))
        log.change_key(keys[-1])
        log.put("model", f"m{number}", {})
    snapshot = log.snapshot(log.epoch)
    for pinned in [*(Trust(verify, key.public) for key in keys), FIRST_CONTACT]:
        met = pinned.through(snapshot)
        assert met is not None
        assert met.key_id == keys[-1].key_id
    assert Trust(verify, STRANGER.public).through(snapshot) is None
    theirs = log.continued_by(STRANGER)
    theirs.append([])
    assert PINNED.through(theirs.snapshot(theirs.epoch)) is None
    unsigned = msgspec.structs.replace(snapshot.entry, signature=None)
    for trust in (PINNED, FIRST_CONTACT):
        assert trust.through(dataclasses.replace(snapshot, entry=unsigned)) is None
    # Signed, and no key of it told: it is of no log of before signatures, which is taken as it is.
    assert FIRST_CONTACT.through(dataclasses.replace(snapshot, lineage=())) is None


@given(st.lists(st.integers(0, 3), max_size=8))
def test_the_last_key_that_a_log_tells_is_the_one_that_signs_also_where_it_comes_again(changes):
    log, last = WrittenLog(), WRITER_KEY
    for number in changes:
        last = SigningKey.of_seed(bytes([number]) * 32)
        log.change_key(last)
    assert list(keys_of(log.entries))[-1] == last.key_id


@given(signer=st.sampled_from([None, WRITER_KEY, STRANGER]), old=st.booleans())
def test_the_first_key_of_all_is_believed_only_if_it_signed_the_entry_that_brings_it(signer, old):
    entry = WrittenLog().entries[0]
    told = WrittenLog("another").entries[0] if old else entry
    signature = signer.signed(msgspec.structs.replace(told, signature=None)) if signer else None
    met = FIRST_CONTACT.after(
        msgspec.structs.replace(entry, signature=signature.signature if signature else None)
    )
    is_right = signer is WRITER_KEY and not old
    assert met.key_id == (WRITER_KEY.key_id if is_right else "")


@given(
    changes=st.lists(st.integers(0, 2), max_size=4),
    own=st.integers(0, 3),
    lacks=st.booleans(),
    is_signed=st.booleans(),
)
def test_a_writer_signs_what_its_key_alone_may_and_begins_with_the_newest_key(
    changes, own, lacks, is_signed
):
    log, keys, since = WrittenLog(), [WRITER_KEY], 0  # the first key signs what brings it, too
    for number in changes:
        if number == 0:
            keys.append(SigningKey.of_seed(bytes([len(keys)]) * 32))
            since = log.change_key(keys[-1]).epoch
        log.put("model", "m", {"n": number, "at": log.epoch})
    own_key = keys[min(own, len(keys) - 1)]
    # A restored file may lack the end, and with it the key that this writer already has.
    known = log.entries[: max(0, since - 1)] if lacks else log.entries
    writer = LogKeys(own_key, [entry for entry in known if is_of_lineage(entry)])
    newest = keys[-1] if not lacks else keys[-2] if len(keys) > 1 else None
    if newest is own_key:
        writer.check(log.epoch)
    else:
        with pytest.raises(Untrusted):
            writer.check(log.epoch)
    for entry in log.entries:
        given_in = entry if is_signed else msgspec.structs.replace(entry, signature=None)
        found = writer.signed(given_in)
        if not is_signed and own_key is newest and not lacks and entry.epoch > since:
            assert found == entry
        elif is_signed or own_key is not newest:
            assert found is given_in
        elif not lacks:
            assert found is given_in, "no reader believes a key before it has met it"
    of_own = own_key.signed(msgspec.structs.replace(log.entries[-1], signature=None))
    assert writer.vouches_for(of_own)
    assert not writer.vouches_for(STRANGER.signed(msgspec.structs.replace(of_own, signature=None)))
    assert not writer.vouches_for(None)


@pytest.mark.parametrize("text", ["", "zz", "00" * 31, "00" * 33])
def test_what_is_no_public_key_is_refused(text):
    with pytest.raises(ValueError):
        PublicKey.parse(text)


@given(st.text(), st.text())
def test_a_signature_of_nonsense_is_not_accepted(key_id, value):
    entry = WrittenLog().entries[0]
    odd = msgspec.structs.replace(entry, signature=Signature(key_id, value))
    assert not PINNED.accepts(odd)
    right = msgspec.structs.replace(entry, signature=Signature(WRITER_KEY.key_id, value))
    assert not PINNED.accepts(right)


@given(changes=st.integers(1, 3), data=st.data())
def test_a_key_that_waits_comes_in_with_the_change_to_it_that_is_the_log_s_last(changes, data):
    log, keys = WrittenLog(), [WRITER_KEY]
    for number in range(changes):
        keys.append(SigningKey.of_seed(bytes([number + 1]) * 32))
        log.change_key(keys[-1])
    lineage = tuple(entry for entry in log.entries if is_of_lineage(entry))
    waits = data.draw(st.sampled_from([*keys, STRANGER]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "key")
        make_key(path, keys[0])
        make_key(path.with_name("key.next"), waits)
        # A change that was begun goes on with the key that it made.
        assert begin_change(path).key_id == waits.key_id
        replayed = Replayed(log.registries[log.epoch], log.entries[-1], lineage, None)
        found = key_of_log(path, replayed)
        kept = read_key(path)
    is_last = waits.key_id == keys[-1].key_id
    assert found.key_id == (keys[-1] if is_last else keys[0]).key_id
    assert kept is not None and kept.key_id == found.key_id


@given(st.integers(0, 0o777))
def test_no_key_is_read_that_anybody_may_read_or_change(mode):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "key")
        make_key(path, WRITER_KEY)
        path.chmod(mode | 0o400)
        if mode & 0o007:
            with pytest.raises(Untrusted, match="chmod"):
                read_key(path)
        else:
            assert read_key(path) is not None
