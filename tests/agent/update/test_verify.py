"""What must be true of a release before it may run here, each check by itself."""

import dataclasses
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.update.ending import Failed
from agent.update.trust import Floor, TrustFile
from agent.update.verify import Papers, Verifier, check_signature
from rm.shared import ids, instants
from rm.shared.protocol import CommandUpdate
from tests.cast import NOW
from tests.signing import (
    OTHER_KEY,
    RELEASE_KEY,
    ROOT_KEY,
    ROOTS,
    SPARE_ROOT_KEY,
    SignedRelease,
    manifest_facts,
    signed_keyset,
    signed_release,
)

NOT_AFTER = NOW + timedelta(hours=1)
ARTIFACT = b"#!/bin/sh\necho the next agent\n"


@dataclasses.dataclass
class Bench:
    """A host at release 1 that has never seen a keyset, and what it is offered."""

    directory: Path
    release: SignedRelease = dataclasses.field(default_factory=signed_release)
    floor: Floor = dataclasses.field(default_factory=lambda: Floor(seq=1, sha256="0" * 64, version="0.1.0"))
    running_seq: int = 1
    may_go_below: bool = False
    ordered: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.trust = TrustFile(self.directory)
        self.trust.pin({"root_keys": ROOTS, "keyset_version": 1})

    def verify(self, *, now: Any = NOW, **papers: bytes) -> str:
        """Empty when it may run, otherwise the code of what is wrong."""
        known = {
            "keyset": self.release.keyset,
            "keyset_signature": self.release.keyset_signature.encode(),
            "manifest": self.release.manifest,
            "manifest_signature": self.release.manifest_signature.encode(),
        }
        facts = self.release.facts
        order = {
            "attempt_id": ids.new_ulid(), "epoch": 1, "keyset_version": 1,
            "manifest_sha256": self.release.manifest_sha256, "artifact_sha256": self.release.artifact_sha256,
            "version": facts.get("version", "0.2.0"), "seq": facts.get("seq", 2),
            "not_after": instants.to_text(NOT_AFTER),
        }  # fmt: skip
        verifier = Verifier(
            order=CommandUpdate(**(order | self.ordered)), trust_file=self.trust, floor=self.floor,
            running_seq=self.running_seq, may_go_below=self.may_go_below,
        )  # fmt: skip
        try:
            _, artifact = verifier.papers(Papers(**(known | papers)), now=now, not_after=NOT_AFTER)
            path = self.directory / "artifact"
            if not path.exists():
                path.write_bytes(self.release.artifact)
            verifier.file(path, artifact)
        except Failed as error:
            assert error.phase == "verifying"
            assert error.detail
            return error.reason
        return ""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_release_in_good_order_may_run(bench: Bench) -> None:
    assert bench.verify() == ""


def test_what_was_seen_is_remembered(bench: Bench) -> None:
    bench.release = signed_release(seq=4, version="0.4.0", keyset_version=3, yanked=[2])

    assert bench.verify() == ""

    found = bench.trust.load()
    assert (found.keyset_version, found.highest_seq, found.yanked, found.root_keys) == (3, 4, [2], ROOTS)


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("part", ["keyset", "keyset_signature", "manifest", "manifest_signature"])
def test_no_byte_of_any_paper_can_be_changed(bench: Bench, part: str) -> None:
    whole = {
        "keyset": bench.release.keyset,
        "keyset_signature": bench.release.keyset_signature.encode(),
        "manifest": bench.release.manifest,
        "manifest_signature": bench.release.manifest_signature.encode(),
    }[part]
    # The first line of a signature is called an untrusted comment for a reason.
    first = whole.index(b"\n") + 1 if part.endswith("signature") else 0
    last = len(whole) - 1 if part.endswith("signature") else len(whole)

    taken = [at for at in range(first, last, 7) if bench.verify(**{part: flip(whole, at)}) == ""]

    assert taken == []


@pytest.mark.parametrize("at", [0, 10, len(ARTIFACT) - 1])
def test_no_byte_of_the_artifact_can_be_changed(bench: Bench, at: int) -> None:
    (bench.directory / "artifact").write_bytes(flip(ARTIFACT, at))

    assert bench.verify() == "wrong_hash"


@pytest.mark.parametrize("data", [ARTIFACT[:-1], ARTIFACT + b"x", b""])
def test_an_artifact_of_another_size_is_not_taken(bench: Bench, data: bytes) -> None:
    (bench.directory / "artifact").write_bytes(data)

    assert bench.verify() == "wrong_size"


def signed(release: SignedRelease, facts: dict[str, Any], *, key: Any = RELEASE_KEY) -> SignedRelease:
    manifest = json.dumps(facts).encode()
    return dataclasses.replace(
        release, manifest=manifest, manifest_signature=key.sign(manifest, trusted_comment="release")
    )


WRONG: dict[str, tuple[str, Callable[[Bench], None]]] = {
    "a manifest that is not the ordered one": (
        "manifest_not_ordered", lambda b: b.ordered.update(manifest_sha256="d" * 64)),
    "a manifest of another release than the order says": ("manifest_not_ordered", lambda b: b.ordered.update(seq=3)),
    "an order for another artifact": ("wrong_artifact", lambda b: b.ordered.update(artifact_sha256="d" * 64)),
    "a manifest signed by a key that no keyset lists": (
        "manifest_unknown_key", lambda b: setattr(b, "release", signed_release(key=OTHER_KEY))),
    "a manifest that names another key than signed it": (
        "manifest_wrong_key_id", lambda b: setattr(b, "release", signed_release(key_id=OTHER_KEY.public.name))),
    "another product": ("manifest_wrong_product", lambda b: setattr(b, "release", signed_release(product="other"))),
    "another schema": ("manifest_wrong_schema", lambda b: setattr(b, "release", signed_release(schema=2))),
    "another channel": ("manifest_wrong_channel", lambda b: setattr(b, "release", signed_release(channel="beta"))),
    "nothing for this platform": (
        "no_artifact", lambda b: setattr(b, "release", signed_release(artifacts=[
            manifest_facts(ARTIFACT, seq=2, version="0.2.0")["artifacts"][0] | {"os": "windows", "arch": "amd64"}]))),
    "a release that was withdrawn": ("yanked", lambda b: setattr(b, "release", signed_release(yanked=[2]))),
    "a manifest whose time is over": (
        "manifest_expired", lambda b: setattr(b, "release", signed_release(expires_at=instants.to_text(NOW)))),
    "a release older than one that ran here": (
        "below_floor", lambda b: setattr(b, "floor", Floor(seq=3, sha256="e" * 64, version="0.3.0"))),
    "a second artifact of the same sequence": (
        "same_seq_other_hash", lambda b: setattr(b, "floor", Floor(seq=2, sha256="e" * 64, version="0.2.0"))),
    "a release too far from this one": ("too_far", lambda b: setattr(b, "release", signed_release(min_from_seq=2))),
    "an older keyset than was ordered": ("keyset_too_old", lambda b: b.ordered.update(keyset_version=2)),
    "an older keyset than was seen": (
        "keyset_too_old", lambda b: b.trust.save(dataclasses.replace(b.trust.load(), keyset_version=2))),
    "a second keyset of the same version": (
        "keyset_changed", lambda b: b.trust.save(dataclasses.replace(b.trust.load(), keyset_sha256="f" * 64))),
    "a host that trusts nobody": (
        "no_trust", lambda b: b.trust.save(dataclasses.replace(b.trust.load(), root_keys=[]))),
    "a host that trusts another root": (
        "keyset_unknown_key",
        lambda b: b.trust.save(dataclasses.replace(b.trust.load(), root_keys=[OTHER_KEY.public.text]))),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_is_not_taken(bench: Bench, what: str) -> None:
    code, spoil = WRONG[what]
    bench.release = signed_release()
    spoil(bench)
    bench.running_seq = 1
    now = NOW + timedelta(seconds=1)

    assert bench.verify(now=now) == code


def test_an_order_whose_time_is_over_is_not_taken(bench: Bench) -> None:
    assert bench.verify(now=NOT_AFTER + timedelta(seconds=1)) == "order_expired"


def test_a_manifest_over_64_kib_is_not_even_parsed(bench: Bench) -> None:
    facts = manifest_facts(ARTIFACT, seq=2, version="0.2.0") | {"padding": "x" * 70_000}
    bench.release = signed(bench.release, facts)

    assert bench.verify() == "manifest_too_large"


def test_a_signature_of_the_older_kind_is_not_taken(bench: Bench) -> None:
    legacy = bench.release.manifest_signature.replace("\nRUQ", "\nRWQ", 1).replace("\nRUR", "\nRWR", 1)

    assert bench.verify(manifest_signature=legacy.encode()) in ("manifest_not_prehashed", "manifest_bad_signature_file")


def test_a_release_that_was_withdrawn_once_stays_withdrawn(bench: Bench) -> None:
    bench.release = signed_release(seq=4, version="0.4.0", yanked=[3])
    assert bench.verify() == ""

    bench.release = signed_release(seq=3, version="0.3.0")

    assert bench.verify() == "yanked"


def test_the_papers_of_two_releases_cannot_be_mixed(bench: Bench) -> None:
    other = signed_release(seq=3, version="0.3.0", artifact=b"another")

    assert bench.verify(manifest=other.manifest, manifest_signature=other.manifest_signature.encode()) != ""
    assert bench.verify(manifest_signature=other.manifest_signature.encode()) == "manifest_bad_signature"


def test_the_sealed_root_key_can_bring_new_release_keys(bench: Bench) -> None:
    keyset, signature = signed_keyset(version=2, keys=(OTHER_KEY,), root=SPARE_ROOT_KEY)
    bench.release = dataclasses.replace(
        signed_release(key=OTHER_KEY, key_id=OTHER_KEY.public.name), keyset=keyset, keyset_signature=signature
    )

    assert bench.verify() == ""
    bench.release = signed_release()
    assert bench.verify() == "keyset_too_old"


def test_the_owner_may_let_an_older_release_in_but_no_other_of_the_same_sequence(bench: Bench) -> None:
    bench.may_go_below = True
    bench.floor = Floor(seq=3, sha256="e" * 64, version="0.3.0")

    assert bench.verify() == ""


def test_a_signature_is_checked_as_ed25519_has_it() -> None:
    signature = ROOT_KEY.sign(b"x", trusted_comment="x")

    assert check_signature(ROOT_KEY.public.raw, b"\0" * 64, b"x") is False
    assert check_signature(b"\xff" * 32, b"\0" * 64, b"x") is False
    assert check_signature(ROOT_KEY.public.raw, b"short", b"x") is False
    assert signature
