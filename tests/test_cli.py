"""`flask --app app rm release ...` as an operator types it."""

import dataclasses

import pytest

from rm.runtime import runtime
from rm.store import releases as stored
from rm.store.models import ApiToken, User
from tests import signing
from tests.cast import ALICE, add_host
from tests.services.people import with_second_factor
from tests.signing import OTHER_KEY, ROOT_KEY, SPARE_ROOT_KEY, signed_keyset, signed_release

FIRST = signed_release()
SECOND = signed_release(seq=3, version="0.3.0", artifact=b"the next one")


@pytest.fixture
def rm(app):
    """rm("release list") → (exit code, what was said)."""

    def rm(*arguments):
        done = app.test_cli_runner().invoke(args=["rm", *(str(argument) for argument in arguments)])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    return rm


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "release"


def test_importing_says_whom_this_server_trusts_now_and_how_to_go_on(rm, directory):
    keyset, signature = signed_keyset(root_keys=signing.ROOTS)
    dataclasses.replace(FIRST, keyset=keyset, keyset_signature=signature).write(directory)

    code, said = rm("release", "import", directory)

    assert code == 0
    assert f"trusts the root key {ROOT_KEY.public.name} and {SPARE_ROOT_KEY.public.name}" in said
    assert f"rm release promote {FIRST.manifest_sha256[:12]}" in said
    assert stored.current() is None


def test_importing_again_says_that_it_is_here_and_nothing_of_trust(rm, directory):
    rm("release", "import", FIRST.write(directory))

    code, said = rm("release", "import", directory)

    assert (code, said.startswith("already here: release 0.2.0"), "trusts" in said) == (0, True, False)


def test_importing_can_make_it_current_at_once(rm, directory):
    code, said = rm("release", "import", FIRST.write(directory), "--promote")

    assert (code, "current release now" in said, stored.current().seq) == (0, True, 2)


def test_an_older_release_is_imported_though_it_is_not_promoted(rm, directory):
    rm("release", "import", SECOND.write(directory), "--promote")

    code, said = rm("release", "import", FIRST.write(directory), "--promote")

    assert (code, "imported release 0.2.0" in said, "older than 3" in said) == (1, True, True)
    assert stored.current().seq == 3


def test_a_refusal_says_what_is_wrong_and_exits_with_1(rm, directory):
    code, said = rm("release", "import", dataclasses.replace(FIRST, artifact=b"x").write(directory))

    assert (code, "rm-agent has 1 bytes" in said, "Nothing was stored" in said) == (1, True, True)


def test_new_trust_says_that_every_host_must_be_installed_again(rm, directory, bus):
    add_host(bus, "web1")
    rm("release", "import", FIRST.write(directory))
    keyset, signature = signed_keyset(version=2, root=OTHER_KEY)
    dataclasses.replace(SECOND, keyset=keyset, keyset_signature=signature).write(directory, root=OTHER_KEY)

    refused = rm("release", "import", directory)
    taken = rm("release", "import", directory, "--new-trust")

    assert (refused[0], "--new-trust" in refused[1]) == (1, True)
    assert (taken[0], "Every host must be re-installed (1 now)" in taken[1]) == (0, True)


@pytest.mark.parametrize("name", ["0.2.0", FIRST.manifest_sha256, FIRST.manifest_sha256[:8]])
def test_a_release_is_promoted_by_its_version_or_id(rm, directory, name):
    rm("release", "import", FIRST.write(directory))

    assert rm("release", "promote", name)[0] == 0
    assert stored.current().id == FIRST.manifest_sha256


def test_a_version_that_two_releases_have_is_asked_back(rm, directory):
    rm("release", "import", FIRST.write(directory))
    rm("release", "import", signed_release(seq=3, version="0.2.0", artifact=b"again").write(directory))

    code, said = rm("release", "promote", "0.2.0")

    assert (code, "sequence 3" in said, "sequence 2" in said, stored.current()) == (1, True, True, None)


def test_an_unknown_release_and_an_older_one_are_refused_with_what_to_do(rm, directory):
    for release in (FIRST, SECOND):
        rm("release", "import", release.write(directory))
    rm("release", "promote", "0.3.0")

    unknown, older = rm("release", "promote", "9.9.9"), rm("release", "promote", "0.2.0")
    forced = rm("release", "promote", "0.2.0", "--force", "--reason", "0.3.0 eats logs")

    assert (unknown[0], "no such release" in unknown[1]) == (1, True)
    assert (older[0], "force it and say why" in older[1]) == (1, True)
    assert (forced[0], stored.current().seq) == (0, 2)


def test_releases_are_listed_with_their_state(rm, directory):
    rm("release", "import", FIRST.write(directory), "--promote")
    rm(
        "release",
        "import",
        signed_release(seq=3, version="0.3.0", artifact=b"x", yanked=[2]).write(directory),
        "--promote",
    )

    code, said = rm("release", "list")

    assert code == 0
    assert [line.split()[1:] for line in said.splitlines()] == [
        ["3", "0.3.0", "2027-11-23", "current"],
        ["2", "0.2.0", "2027-11-23", "withdrawn", "(yanked)"],
    ]


def typed(app, text, *arguments):
    done = app.test_cli_runner().invoke(args=["rm", *arguments], input=text)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_an_administrator_is_made_with_a_password_from_standard_input(app):
    assert typed(app, "a long enough one\n", "create-admin", "--username", "dora") == (0, "created admin dora\n")
    assert User.get(User.username == "dora").role == "admin"


def test_a_name_that_exists_is_not_made_again(app):
    code, said = typed(app, "a long enough one\n", "create-admin", "--username", "Alice")

    assert (code, "already" in said) == (1, True)


def test_a_locked_out_administrator_is_let_in_again(app):
    User.update(is_enabled=False).where(User.id == "alice").execute()

    code, said = typed(app, "a long enough one\n", "set-password", "--username", "alice")

    assert (code, said) == (0, "admin alice can sign in with this password\n")
    assert User.get_by_id("alice").is_enabled


def test_a_password_that_is_too_short_is_said(app):
    code, said = typed(app, "short\n", "set-password", "--username", "alice")

    assert (code, "12 characters" in said) == (1, True)


def test_a_lost_second_factor_is_taken_away(app, rm):
    with_second_factor(runtime(app), ALICE)

    assert rm("reset-second-factor", "--username", "alice") == (0, "alice signs in with the password alone now\n")
    assert User.get_by_id("alice").totp_sealed is None
    code, said = rm("reset-second-factor", "--username", "alice")
    assert (code, "no second factor" in said) == (1, True)


def test_who_is_not_there_is_named(rm):
    assert rm("reset-second-factor", "--username", "mallory") == (1, "There is no user named mallory.\n")


def test_a_token_for_a_program_is_printed_once_and_may_be_good_for_ever(app, rm):
    plain = rm("create-token", "--kind", "api", "--name", "ansible", "--role", "operator", "--tag", "web")[1].strip()
    endless, _ = rm("create-token", "--kind", "api", "--name", "grafana", "--role", "viewer", "--never-expires")

    answer = app.test_client().get("/api/v1/me", headers={"Authorization": f"Bearer {plain}"}).json
    kept = {token.name: token for token in ApiToken.select()}
    assert (answer["name"], answer["role"], answer["tags"]) == ("ansible", "operator", ["web"])
    assert endless == 0
    assert (kept["grafana"].expires_at, kept["grafana"].user_id, kept["ansible"].user_id) == (None, None, None)
    assert kept["ansible"].expires_at is not None


def test_a_token_for_a_program_wants_a_name_and_a_role(rm):
    code, said = rm("create-token", "--kind", "api", "--days", "400")

    assert code == 1
    assert [word for word in ("name", "role", "days") if f"  {word}: " in said] == ["name", "role", "days"]
    assert ApiToken.select().count() == 0
