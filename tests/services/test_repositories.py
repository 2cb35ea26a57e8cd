"""Repositories and source groups."""

import json

import pytest

from rm.errors import HostOffline, Invalid, NotFound
from rm.events import HostConfigChanged
from rm.services import repositories, repository_hosts
from rm.services.repositories import test_on_host as try_on_host
from rm.services.repository_forms import MaintenanceForm, RepositoryForm
from rm.shared.protocol import RepositoryStats
from rm.store.models import AuditEntry, Host, Repository, RepositoryCredential
from rm.store.vault import UnsealError
from tests import cast
from tests.cast import ALICE, BOB, NOW

FORM = RepositoryForm(
    name="offsite",
    location="rest:https://backup.example/web1",
    password="repo-secret",
    username="web1",
    secret="s3cr3t",
)


def save(bus, vault, host, form=FORM):
    return repositories.save_for_host(bus, vault, host_id=host.id, form=form, actor=ALICE, now=NOW)


def test_a_repository_is_stored_sealed_and_reaches_its_host_opened(bus, vault, web1, settings):
    save(bus, vault, web1)

    config = repositories.config_for_host(vault, host_id=web1.id)
    stored = b"".join(path.read_bytes() for path in settings.data_dir.glob("restic-manager.db*"))
    assert (config.repositories[0].password, config.repositories[0].secret) == ("repo-secret", "s3cr3t")
    assert b"repo-secret" not in stored
    assert b"s3cr3t" not in stored


def test_the_audit_says_that_a_password_changed_and_not_to_what(bus, vault, web1):
    save(bus, vault, web1)

    payload = json.dumps([entry.payload for entry in AuditEntry.select()])
    assert '"password_changed": true' in payload
    assert "repo-secret" not in payload
    assert "s3cr3t" not in payload


def test_a_blank_password_keeps_the_stored_one(bus, vault, web1):
    save(bus, vault, web1)
    save(bus, vault, web1, RepositoryForm(name="renamed", location=FORM.location, username="web1"))

    config = repositories.config_for_host(vault, host_id=web1.id).repositories[0]
    assert (config.name, config.password, config.secret) == ("renamed", "repo-secret", "s3cr3t")
    assert Repository.select().count() == 1


def test_a_blank_user_forgets_the_backends_credential(bus, vault, web1):
    save(bus, vault, web1)
    save(bus, vault, web1, RepositoryForm(name="offsite", location=FORM.location))

    assert RepositoryCredential.select().count() == 0


def test_a_change_raises_the_wanted_version_and_is_told(bus, vault, web1):
    save(bus, vault, web1)
    before = cast.host_row(web1).config_version

    with bus.subscribe() as listener:
        save(bus, vault, web1, RepositoryForm(name="offsite", location="/srv/backup"))
        events = listener.take(timeout=0)

    assert cast.host_row(web1).config_version == before + 1
    assert HostConfigChanged(web1.id) in events


def test_several_hosts_can_share_a_repository_and_all_hear_of_a_change(bus, vault, web1, db1):
    repository = save(bus, vault, web1)
    repository_hosts.use_existing(bus, host_id=db1.id, repository_id=repository.id, actor=ALICE, now=NOW)
    before = cast.host_row(db1).config_version

    save(bus, vault, web1, RepositoryForm(name="offsite", location="/srv/elsewhere"))

    assert cast.host_row(db1).config_version == before + 1
    assert repositories.config_for_host(vault, host_id=db1.id).repositories[0].location == "/srv/elsewhere"


@pytest.mark.parametrize(
    ("field", "form"),
    [
        ("name", RepositoryForm(name="", location="/srv", password="p")),
        ("location", RepositoryForm(name="n", location="", password="p")),
        ("location", RepositoryForm(name="n", location="relative/path", password="p")),
        ("location", RepositoryForm(name="n", location="ftp://old.example", password="p")),
        ("location", RepositoryForm(name="n", location="rest:https://user:pw@backup.example/", password="p")),
        ("location", RepositoryForm(name="n", location="rest:backup.example", password="p")),
        ("location", RepositoryForm(name="n", location="/srv\nRESTIC_PASSWORD=x", password="p")),
        ("password", RepositoryForm(name="n", location="/srv")),
        ("password", RepositoryForm(name="n", location="/srv", password="two\nlines")),
        ("secret", RepositoryForm(name="n", location="/srv", password="p", username="u", secret="a\nb")),
    ],
)
def test_what_restic_could_not_use_is_named(bus, vault, web1, field, form):
    with pytest.raises(Invalid) as caught:
        save(bus, vault, web1, form)

    assert field in caught.value.fields
    assert Host.get_by_id(web1.id).repository_id is None


def test_two_repositories_cannot_have_one_name(bus, vault, web1, db1):
    save(bus, vault, web1)

    with pytest.raises(Invalid, match="another look") as caught:
        save(bus, vault, db1)

    assert "name" in caught.value.fields


def test_a_secret_copied_from_another_row_does_not_open(bus, vault, web1, db1):
    save(bus, vault, web1)
    save(bus, vault, db1, RepositoryForm(name="other", location="/srv", password="other-secret"))
    stolen = Repository.get(Repository.name == "offsite").password_sealed
    Repository.update(password_sealed=stolen).where(Repository.name == "other").execute()

    with pytest.raises(UnsealError):
        repositories.config_for_host(vault, host_id=db1.id)


def test_a_repository_cannot_be_tried_while_its_host_is_away(bus, vault, parts, web1):
    save(bus, vault, web1)

    with pytest.raises(HostOffline, match="not connected"):
        try_on_host(bus, parts.agents, host_id=web1.id, actor=BOB, now=NOW)
    assert Repository.get().tested_at is None


def test_a_host_without_repository_has_nothing_to_try(bus, parts, web1):
    with pytest.raises(NotFound):
        try_on_host(bus, parts.agents, host_id=web1.id, actor=BOB, now=NOW)


def report(bus, host, repository, **stats):
    repositories.keep_stats(
        bus, host_id=host.id, stats=RepositoryStats(repository_id=repository.id, **stats), now=NOW
    )  # fmt: skip
    return Repository.get_by_id(repository.id)


def test_the_first_id_is_learned_and_another_one_later_is_noted_but_not_believed(bus, vault, web1):
    repository = save(bus, vault, web1)

    first = report(bus, web1, repository, restic_repository_id="a" * 64, snapshot_count=3)
    other = report(bus, web1, repository, restic_repository_id="b" * 64, snapshot_count=0)

    assert (first.restic_repository_id, first.restic_id_seen) == ("a" * 64, None)
    assert (other.restic_repository_id, other.restic_id_seen, other.snapshot_count) == ("a" * 64, "b" * 64, 3)


def test_the_known_repository_back_at_its_place_ends_the_refusal(bus, vault, web1):
    repository = save(bus, vault, web1)
    for restic_id in ("a" * 64, "b" * 64, "a" * 64):
        found = report(bus, web1, repository, restic_repository_id=restic_id)

    assert found.restic_id_seen is None


def test_a_maintenance_secret_is_sealed_for_its_own_slot(bus, vault, web1):
    repository = save(bus, vault, web1)
    form = MaintenanceForm(username="keeper", secret="may-delete")
    repositories.set_maintenance(
        bus, vault, repository_id=repository.id, form=form, is_append_only=True, actor=ALICE, now=NOW
    )
    sealed = {row.slot: row.secret_sealed for row in RepositoryCredential.select()}
    RepositoryCredential.update(secret_sealed=sealed["everyday"]).where(
        RepositoryCredential.slot == "maintenance"
    ).execute()

    with pytest.raises(UnsealError):
        repositories.config_for_host(vault, host_id=web1.id)
