"""Releases on the server: all of it is checked before any of it is kept, and nothing goes backwards."""

import dataclasses
import hashlib
import os
from datetime import timedelta

import pytest

from rm.errors import Conflict, Invalid
from rm.events import HostConfigChanged, ReleasesChanged
from rm.services import releases
from rm.store import releases as stored
from rm.store.database import DatabaseError, db
from rm.store.models import Alert, AuditEntry, Host, Keyset, Release
from tests import cast, signing
from tests.cast import ALICE, NOW
from tests.signing import OTHER_KEY, RELEASE_KEY, ROOT_KEY, SPARE_ROOT_KEY, signed_keyset, signed_release


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "release"


@pytest.fixture
def bring(bus, settings, directory):
    """bring(release) imports it; options go to the import."""

    def bring(release, *, now=NOW, root=ROOT_KEY, **options):
        return releases.import_release(
            bus,
            directory=release.write(directory, root=root),
            data_dir=settings.data_dir,
            actor=ALICE,
            now=now,
            **options,
        )

    return bring


@pytest.fixture
def refusal(bring):
    """refusal(release) → (code, message) of an import that is refused."""

    def refusal(release, **options):
        with pytest.raises(Conflict) as caught:
            bring(release, **options)
        return caught.value.code, caught.value.message

    return refusal


def kept(settings):
    place = settings.data_dir / "releases"
    return sorted(path.name for path in place.iterdir()) if place.exists() else []


def signed_again(release, **changed):
    """The release with other fields in its manifest, and a good signature under them."""
    facts = release.facts | changed
    again = signed_release(seq=facts["seq"], version=facts["version"], artifact=release.artifact, **changed)
    return dataclasses.replace(release, manifest=again.manifest, manifest_signature=again.manifest_signature)


def test_a_good_release_is_kept_with_its_files_and_is_not_current(bring, settings, app):
    release = signed_release()

    done = bring(release)

    assert (done.is_new, done.is_first_trust, done.release.id) == (True, True, release.manifest_sha256)
    assert (done.release.version, done.release.seq, done.release.imported_by) == ("0.2.0", 2, "alice")
    assert kept(settings) == [release.artifact_sha256]
    assert (settings.data_dir / "releases" / release.artifact_sha256).read_bytes() == release.artifact
    assert stored.current() is None


def test_the_same_release_again_changes_nothing(bring, bus, settings, app):
    release = signed_release()
    first = bring(release)
    entries = AuditEntry.select().count()

    with bus.subscribe() as listener:
        again = bring(release, now=NOW + timedelta(days=1))
        told = listener.take(timeout=0)

    assert (again.is_new, again.release.imported_at) == (False, first.release.imported_at)
    assert (AuditEntry.select().count(), told, Release.select().count()) == (entries, [], 1)
    assert kept(settings) == [release.artifact_sha256]


def test_importing_again_brings_a_damaged_file_back(bring, settings, app):
    release = signed_release()
    bring(release)
    file = settings.data_dir / "releases" / release.artifact_sha256
    file.write_bytes(b"rotten")

    bring(release)

    assert file.read_bytes() == release.artifact


def one_byte(data, at=-3):
    found = bytearray(data)
    found[at] ^= 1
    return bytes(found)


def one_char(text, line, at):
    lines = text.split("\n")
    lines[line] = lines[line][:at] + ("A" if lines[line][at] != "A" else "B") + lines[line][at + 1 :]
    return "\n".join(lines)


GOOD = signed_release()
OTHER = signed_release(seq=3, version="0.3.0", artifact=b"another agent of the same length" * 2)
STRANGE_KEYSET = signed_keyset(root=OTHER_KEY)
DEFECTS = {
    "a byte of the manifest": (
        dataclasses.replace(GOOD, manifest=one_byte(GOOD.manifest)), "bad_signature", "manifest is not trusted",
    ),
    "a byte of the artifact": (
        dataclasses.replace(GOOD, artifact=one_byte(GOOD.artifact)), "wrong_artifact", "the manifest says",
    ),
    "a byte of the keyset": (
        dataclasses.replace(GOOD, keyset=one_byte(GOOD.keyset)), "bad_signature", "keyset is not trusted",
    ),
    "a character of the manifest's signature": (
        dataclasses.replace(GOOD, manifest_signature=one_char(GOOD.manifest_signature, 1, 40)),
        "bad_signature", "does not belong to these bytes",
    ),
    "a character of the keyset's signature": (
        dataclasses.replace(GOOD, keyset_signature=one_char(GOOD.keyset_signature, 1, 40)),
        "bad_signature", "does not belong to these bytes",
    ),
    "the manifest's trusted comment": (
        dataclasses.replace(GOOD, manifest_signature=GOOD.manifest_signature.replace("seq 2", "seq 9")),
        "bad_comment", "trusted comment",
    ),
    "the keyset's trusted comment": (
        dataclasses.replace(GOOD, keyset_signature=GOOD.keyset_signature.replace("keyset 1", "keyset 7")),
        "bad_comment", "trusted comment",
    ),
    "a manifest signed by a key that the keyset does not list": (
        signed_release(key=OTHER_KEY), "unknown_key", OTHER_KEY.public.name,
    ),
    "a manifest that names another key than the one that signed it": (
        signed_release(key_id=OTHER_KEY.public.name), "wrong_key_id", OTHER_KEY.public.name,
    ),
    "a keyset signed by a stranger's root key": (
        dataclasses.replace(GOOD, keyset=STRANGE_KEYSET[0], keyset_signature=STRANGE_KEYSET[1]),
        "unknown_key", OTHER_KEY.public.name,
    ),
    "expired": (
        signed_again(GOOD, expires_at="2026-11-23T11:59:59Z"), "expired", "expired at 2026-11-23 11:59 UTC",
    ),
    "another product": (signed_again(GOOD, product="somebody-elses"), "wrong_product", "somebody-elses"),
    "another schema": (signed_again(GOOD, schema=2), "wrong_schema", "schema 2"),
    "another channel": (signed_again(GOOD, channel="nightly"), "wrong_channel", "nightly"),
    "withdraws itself": (signed_again(GOOD, yanked=[2]), "bad_manifest", "withdraws itself"),
    "an oversized manifest": (signed_again(GOOD, note="x" * 65536), "too_large", "64 KiB"),
    "an oversized signature": (
        dataclasses.replace(GOOD, manifest_signature=GOOD.manifest_signature + " " * 5000),
        "bad_signature_file", "4096 bytes",
    ),
    "a truncated artifact": (
        dataclasses.replace(GOOD, artifact=GOOD.artifact[:-1]), "wrong_artifact", "has 29 bytes; the manifest says 30",
    ),
    "a longer artifact": (
        dataclasses.replace(GOOD, artifact=GOOD.artifact + b"x"), "wrong_artifact", "longer than the 30 bytes",
    ),
    "the artifact of another release": (
        dataclasses.replace(GOOD, artifact=OTHER.artifact), "wrong_artifact", "the manifest says",
    ),
    "the manifest of another release": (
        dataclasses.replace(GOOD, manifest=OTHER.manifest), "bad_signature", "does not belong to these bytes",
    ),
    "a manifest that is no JSON": (
        dataclasses.replace(GOOD, manifest=b"{", manifest_signature=RELEASE_KEY.sign(b"{", trusted_comment="x")),
        "bad_manifest", "not JSON",
    ),
}  # fmt: skip


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_release_with_a_defect_is_refused_by_its_name_and_nothing_is_stored(refusal, settings, app, defect):
    release, code, words = DEFECTS[defect]

    found = refusal(release)

    assert (found[0], words in found[1]) == (code, True), found
    assert kept(settings) == []
    assert (Release.select().count(), Keyset.select().count(), stored.root_keys()) == (0, 0, ())
    assert AuditEntry.get(AuditEntry.action == "release.refused").payload["code"] == code


@pytest.mark.parametrize("name", ["manifest.json", "manifest.json.minisig", "keyset.json", "rm-agent", "root.pub"])
def test_a_directory_that_lacks_a_file_is_refused_with_the_files_name(bus, settings, directory, app, name):
    (GOOD.write(directory) / name).unlink()

    with pytest.raises(Conflict, match=name):
        releases.import_release(bus, directory=directory, data_dir=settings.data_dir, actor=ALICE, now=NOW)

    assert (kept(settings), Release.select().count()) == ([], 0)


def test_an_artifact_that_is_a_directory_or_missing_is_refused(bus, settings, directory, app):
    (GOOD.write(directory) / "rm-agent").unlink()
    (directory / "rm-agent").mkdir()

    with pytest.raises(Conflict) as caught:
        releases.import_release(bus, directory=directory, data_dir=settings.data_dir, actor=ALICE, now=NOW)

    assert caught.value.code == "no_artifact"


@pytest.mark.parametrize("name", ["rm-agent", "manifest.json"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(bus, settings, directory, app, name):
    (GOOD.write(directory) / name).unlink()
    os.mkfifo(directory / name)

    with pytest.raises(Conflict, match=name):
        releases.import_release(bus, directory=directory, data_dir=settings.data_dir, actor=ALICE, now=NOW)


def test_an_older_keyset_than_was_seen_is_refused(bring, refusal, app):
    bring(signed_release(seq=2, keyset_version=2))

    code, message = refusal(signed_release(seq=3, version="0.3.0", keyset_version=1))

    assert (code, "version 1, but 2 was seen" in message) == ("keyset_old", True)
    assert stored.trust()["keyset_version"] == 2


def test_another_keyset_of_a_version_that_is_known_is_refused(bring, refusal, app):
    bring(GOOD)
    keyset, signature = signed_keyset(version=1, keys=(RELEASE_KEY, OTHER_KEY))

    code, _ = refusal(dataclasses.replace(OTHER, keyset=keyset, keyset_signature=signature))

    assert code == "keyset_differs"


def test_a_sequence_that_other_bytes_have_is_refused_and_names_them(bring, refusal, settings, app):
    bring(GOOD)

    code, message = refusal(signed_release(seq=2, version="0.2.1", artifact=b"other bytes"))

    assert (code, "version 0.2.0" in message) == ("seq_taken", True)
    assert kept(settings) == [GOOD.artifact_sha256]


def test_files_of_a_release_that_the_database_did_not_take_are_removed_again(bring, settings, app):
    bring(GOOD)
    db.execute_sql("CREATE TRIGGER full BEFORE INSERT ON releases BEGIN SELECT RAISE(ABORT, 'database is full'); END")

    with pytest.raises(DatabaseError):
        bring(OTHER)

    assert kept(settings) == [GOOD.artifact_sha256]


def test_a_bad_signature_raises_an_alert_that_the_next_good_release_resolves(bring, refusal, app):
    refusal(DEFECTS["a byte of the manifest"][0])
    refusal(DEFECTS["the manifest's trusted comment"][0])
    alert = Alert.get(Alert.kind == "release_signature_invalid")
    assert (alert.state, alert.count, alert.severity) == ("raised", 2, "critical")

    bring(GOOD)

    assert Alert.get_by_id(alert.id).state == "resolved"


def test_a_defect_that_is_no_matter_of_signatures_raises_no_alert(refusal, app):
    refusal(DEFECTS["a truncated artifact"][0])
    refusal(DEFECTS["expired"][0])

    assert Alert.select().count() == 0


# ---- trust ----


def test_the_first_import_pins_the_root_keys_that_the_keyset_lists(bring, app):
    keyset, signature = signed_keyset(root_keys=signing.ROOTS)

    done = bring(dataclasses.replace(GOOD, keyset=keyset, keyset_signature=signature))

    assert [key.name for key in done.root_keys] == [ROOT_KEY.public.name, SPARE_ROOT_KEY.public.name]
    assert stored.trust() == {"root_keys": signing.ROOTS, "keyset_version": 1}


def test_a_keyset_signed_by_the_sealed_root_key_is_taken_later(bring, app):
    keyset, signature = signed_keyset(root_keys=signing.ROOTS)
    bring(dataclasses.replace(GOOD, keyset=keyset, keyset_signature=signature))
    keyset, signature = signed_keyset(version=2, root=SPARE_ROOT_KEY)

    bring(dataclasses.replace(OTHER, keyset=keyset, keyset_signature=signature))

    assert stored.trust() == {"root_keys": signing.ROOTS, "keyset_version": 2}


def test_a_keyset_that_does_not_list_the_root_key_beside_it_is_not_the_first(refusal, app):
    keyset, signature = signed_keyset(root_keys=[SPARE_ROOT_KEY.public.text])

    code, _ = refusal(dataclasses.replace(GOOD, keyset=keyset, keyset_signature=signature))

    assert (code, stored.root_keys()) == ("bad_keyset", ())


def test_another_root_key_is_refused_and_the_way_out_is_named(bring, refusal, app):
    bring(GOOD)
    keyset, signature = signed_keyset(version=2, root=OTHER_KEY)

    code, message = refusal(dataclasses.replace(OTHER, keyset=keyset, keyset_signature=signature), root=OTHER_KEY)

    assert (code, "--new-trust" in message, "installed again" in message) == ("unknown_root", True, True)
    assert stored.trust()["root_keys"] == [ROOT_KEY.public.text]
    assert Alert.get().kind == "release_signature_invalid"


def test_new_trust_replaces_the_root_key_and_withdraws_what_the_old_one_stands_for(bring, bus, web1, app):
    old = bring(GOOD).release
    releases.promote(bus, release_id=old.id, actor=ALICE, now=NOW)
    keyset, signature = signed_keyset(version=2, root=OTHER_KEY)

    done = bring(dataclasses.replace(OTHER, keyset=keyset, keyset_signature=signature), root=OTHER_KEY, new_trust=True)

    assert (done.is_trust_replaced, done.hosts_to_reinstall) == (True, 1)
    assert stored.trust() == {"root_keys": [OTHER_KEY.public.text], "keyset_version": 2}
    assert (stored.current(), stored.get(old.id).withdrawn_why) == (None, "new_trust")


def test_new_trust_still_wants_a_keyset_that_nobody_has_seen(bring, refusal, app):
    bring(GOOD)
    keyset, signature = signed_keyset(version=1, root=OTHER_KEY)
    replaced = dataclasses.replace(OTHER, keyset=keyset, keyset_signature=signature)

    code, message = refusal(replaced, root=OTHER_KEY, new_trust=True)

    assert (code, "--keyset-version 2" in message) == ("keyset_old", True)
    assert stored.trust()["root_keys"] == [ROOT_KEY.public.text]


def test_hosts_that_were_there_before_the_first_import_get_a_new_configuration(bring, bus, web1, db1):
    Host.update(connected_at=NOW).where(Host.id == web1.id).execute()
    before = cast.host_row(web1).config_version, cast.host_row(db1).config_version

    with bus.subscribe() as listener:
        bring(GOOD)
        told = listener.take(timeout=0)

    assert (cast.host_row(web1).config_version, cast.host_row(db1).config_version) == (before[0] + 1, before[1] + 1)
    assert HostConfigChanged(web1.id) in told
    assert HostConfigChanged(db1.id) not in told
    assert ReleasesChanged() in told


def test_a_later_release_of_the_same_trust_leaves_configurations_alone(bring, web1):
    bring(GOOD)
    before = cast.host_row(web1).config_version

    bring(OTHER)

    assert cast.host_row(web1).config_version == before


# ---- withdrawn ----


def test_a_release_that_a_later_one_withdraws_is_current_no_more(bring, bus, app):
    old = bring(GOOD).release
    releases.promote(bus, release_id=old.id, actor=ALICE, now=NOW)

    bring(signed_release(seq=3, version="0.3.0", artifact=b"fixed", yanked=[2]))

    assert (stored.get(old.id).withdrawn_why, stored.current()) == ("yanked", None)
    with pytest.raises(Conflict) as caught:
        releases.promote(bus, release_id=old.id, actor=ALICE, now=NOW)
    assert caught.value.code == "release_withdrawn"


def test_a_release_that_was_withdrawn_before_it_came_is_refused(bring, refusal, settings, app):
    bring(signed_release(seq=3, version="0.3.0", artifact=b"fixed", yanked=[2]))

    code, message = refusal(GOOD)

    assert (code, "withdrawn by release 0.3.0" in message) == ("yanked", True)
    assert len(kept(settings)) == 1


def test_releases_of_a_retired_key_are_withdrawn(bring, app):
    old = bring(GOOD).release
    keyset, signature = signed_keyset(version=2, keys=(OTHER_KEY,))
    newer = signed_release(seq=3, version="0.3.0", artifact=b"new", key=OTHER_KEY, key_id=OTHER_KEY.public.name)

    bring(dataclasses.replace(newer, keyset=keyset, keyset_signature=signature))

    assert stored.get(old.id).withdrawn_why == "key_retired"


# ---- promoting ----


def test_promoting_makes_one_release_current_and_is_announced_and_recorded(bring, bus, app):
    first, second = bring(GOOD).release, bring(OTHER).release
    releases.promote(bus, release_id=first.id, actor=ALICE, now=NOW)

    with bus.subscribe() as listener:
        found = releases.promote(bus, release_id=second.id, actor=ALICE, now=NOW)
        told = listener.take(timeout=0)

    assert (stored.current().id, found.promoted_at, told) == (second.id, NOW, [ReleasesChanged()])
    entry = AuditEntry.select().order_by(AuditEntry.id.desc()).first()
    assert (entry.action, entry.actor_name, entry.target_name) == ("release.promoted", "alice", "0.3.0")


def test_promoting_the_current_release_again_changes_nothing(bring, bus, app):
    found = bring(GOOD).release
    releases.promote(bus, release_id=found.id, actor=ALICE, now=NOW)
    entries = AuditEntry.select().count()

    again = releases.promote(bus, release_id=found.id, actor=ALICE, now=NOW + timedelta(hours=1))

    assert (again.promoted_at, AuditEntry.select().count()) == (NOW, entries)


def test_an_older_release_wants_force_and_a_reason(bring, bus, app):
    first, second = bring(GOOD).release, bring(OTHER).release
    releases.promote(bus, release_id=second.id, actor=ALICE, now=NOW)

    with pytest.raises(Conflict) as refused:
        releases.promote(bus, release_id=first.id, actor=ALICE, now=NOW, reason="because")
    with pytest.raises(Invalid) as silent:
        releases.promote(bus, release_id=first.id, actor=ALICE, now=NOW, force=True, reason="  ")
    releases.promote(bus, release_id=first.id, actor=ALICE, now=NOW, force=True, reason="0.3.0 eats logs")

    assert (refused.value.code, set(silent.value.fields)) == ("older_release", {"reason"})
    assert stored.current().id == first.id
    entry = AuditEntry.select().order_by(AuditEntry.id.desc()).first()
    assert entry.payload["reason"] == "0.3.0 eats logs"


def test_an_expired_release_is_not_promoted(bring, bus, app):
    found = bring(GOOD).release

    with pytest.raises(Conflict) as caught:
        releases.promote(bus, release_id=found.id, actor=ALICE, now=NOW + timedelta(days=366))

    assert caught.value.code == "release_expired"


def test_a_reason_is_bounded(bring, bus, app):
    found = bring(GOOD).release

    with pytest.raises(Invalid):
        releases.promote(bus, release_id=found.id, actor=ALICE, now=NOW, reason="x" * 501)


# ---- queries and other processes ----


def test_an_artifact_is_found_for_its_platform_first_and_for_any_last(bring, app):
    special = b"for one machine"
    facts = signing.manifest_facts(GOOD.artifact, seq=2, version="0.2.0")["artifacts"]
    own = {
        "os": "linux", "arch": "arm64", "name": "rm-agent", "size": len(special),
        "sha256": hashlib.sha256(special).hexdigest(),
    }  # fmt: skip
    release = Release(artifacts=[*facts, own])

    assert stored.artifact_for(release, "linux", "arm64").sha256 == own["sha256"]
    assert stored.artifact_for(release, "linux", "amd64").sha256 == GOOD.artifact_sha256
    assert stored.artifact_for(Release(artifacts=[own]), "linux", "amd64") is None


def test_what_the_command_line_changed_is_announced_once(bring, bus, web1):
    Host.update(connected_at=NOW).where(Host.id == web1.id).execute()
    seen = releases.mark()
    bring(GOOD)

    with bus.subscribe() as listener:
        seen = releases.tell_changes(bus, seen=seen)
        first = listener.take(timeout=0)
        releases.tell_changes(bus, seen=seen)
        second = listener.take(timeout=0)

    assert (first, second) == ([ReleasesChanged(), HostConfigChanged(web1.id)], [])
