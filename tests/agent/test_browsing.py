"""Questions about snapshots: folders, names, sizes, with real restics and with odd names."""

import json
import os
from pathlib import Path

import pytest

from agent import browsing, entries, listings, questions
from agent.listings import Listings
from rm.shared import protocol
from tests.agent.asking import ask, data
from tests.agent.conftest import Rig
from tests.restserver import tools

GONE = "f" * 64
ODD = [
    b"new\nline", b"tab\there", b"-dash", b"star*", b"q?", b"[ab]", b"back\\slash", b"back\\*x", b" lead", b"trail ",
    "\N{GRINNING FACE}".encode(), b"L" * 255, b"...", b'quote"q', b"{a,b}", b"$HOME", b"ctl\x01x", b"<&>", b"!bang",
    b"#hash", "\N{LINE SEPARATOR}x".encode(), "true\N{REPLACEMENT CHARACTER}".encode(), b"\\ufffd",
]  # fmt: skip
LOST = [b"caf\xe9", b"\xff\xfe", b"half\xe2\x82"]


@pytest.fixture(params=["installed", "newer"])
def program(request: pytest.FixtureRequest, rig: Rig) -> None:
    rig.use(tools.program(request.param))


def make(rig: Rig, names: list[bytes]) -> bytes:
    """The source with a file of each name, whose content is the name."""
    source = os.fsencode(rig.base / "source")
    for name in names:
        Path(os.fsdecode(source + b"/" + name)).write_bytes(name)
    return source


def snapshot(rig: Rig, *paths: str) -> str:
    """The id of a new snapshot of the source."""
    done = rig.restic("backup", "--json", *(paths or [str(rig.base / "source")]))
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout.splitlines()[-1])["snapshot_id"])


@pytest.mark.restic
@pytest.mark.usefixtures("program", "repository")
class TestWithRestic:
    def test_a_folder_is_listed_folders_first_then_by_name(self, rig: Rig) -> None:
        for name in ("zoo", "apes"):
            (rig.base / "source" / name).mkdir()
            (rig.base / "source" / name / "inside").write_text("x")
        (rig.base / "source" / "a link").symlink_to("letter.txt")
        os.mkfifo(rig.base / "source" / "pipe")
        (rig.base / "source" / "letter.txt").chmod(0o640)
        made = snapshot(rig)

        found = data(rig, "ls", snapshot_id=made, path=str(rig.base / "source"), offset=0, limit=100)

        kinds = [(entry["name"], entry["type"]) for entry in found["entries"]]
        folders, others = (
            [("apes", "dir"), ("zoo", "dir")],
            [("a link", "symlink"), ("letter.txt", "file"), ("pipe", "other")],
        )
        assert kinds == folders + others
        assert (found["total"], found["is_cut"], found["path"]) == (5, False, str(rig.base / "source"))
        letter = found["entries"][3]
        assert (letter["size"], letter["mode"], letter["selectable"]) == (11, "-rw-r-----", True)
        assert letter["mtime"].endswith("Z") and letter["path"] == str(rig.base / "source" / "letter.txt")

    def test_the_way_down_from_the_root_can_be_gone_folder_by_folder(self, rig: Rig) -> None:
        made = snapshot(rig)
        path = "/"

        for part in (rig.base / "source").parts[1:]:
            names = [entry["name"] for entry in data(rig, "ls", snapshot_id=made, path=path)["entries"]]
            assert names == [part]
            path = path.rstrip("/") + "/" + part

        assert [entry["name"] for entry in data(rig, "ls", snapshot_id=made, path=path)["entries"]] == ["letter.txt"]

    def test_pages_follow_each_other_without_restic_being_asked_again(self, rig: Rig) -> None:
        make(rig, [f"{number:04}".encode() for number in range(1200)])
        made = snapshot(rig)
        where = {"snapshot_id": made, "path": str(rig.base / "source")}
        first = data(rig, "ls", **where, offset=0, limit=500)
        Path(rig.location).rename(rig.base / "away")

        second, third = (
            data(rig, "ls", **where, offset=500, limit=500),
            data(rig, "ls", **where, offset=1000, limit=500),
        )

        names = [entry["name"] for page in (first, second, third) for entry in page["entries"]]
        assert names == [f"{number:04}" for number in range(1200)] + ["letter.txt"]
        assert {page["total"] for page in (first, second, third)} == {1201}
        assert not ask(rig, "ls", snapshot_id=made, path="/").ok

    def test_odd_names_survive_and_names_that_are_no_text_say_so(self, rig: Rig) -> None:
        source = make(rig, [*ODD, *LOST])
        made = snapshot(rig)

        found = data(rig, "ls", snapshot_id=made, path=os.fsdecode(source))["entries"]

        exact = {entry["name"].encode() for entry in found if entry["selectable"]}
        assert exact == {*ODD, b"letter.txt"}
        lost = sorted(entry["name"] for entry in found if not entry["selectable"])
        assert lost == sorted(entries.as_restic_shows(name) for name in LOST)

    def test_a_folder_with_an_odd_name_can_be_opened(self, rig: Rig) -> None:
        for name in (b"star*", b"new\nline", b"[ab]", b"-dash", b"trail ", b"back\\slash"):
            folder = Path(os.fsdecode(os.fsencode(rig.base / "source") + b"/" + name))
            folder.mkdir()
            (folder / "inside").write_text("x")
        made = snapshot(rig)
        found = data(rig, "ls", snapshot_id=made, path=str(rig.base / "source"))["entries"]

        for entry in [one for one in found if one["type"] == "dir"]:
            inside = data(rig, "ls", snapshot_id=made, path=entry["path"])["entries"]
            assert [one["name"] for one in inside] == ["inside"], entry

    def test_what_is_gone_and_what_is_no_folder_have_their_own_reasons(self, rig: Rig) -> None:
        made = snapshot(rig)
        letter = str(rig.base / "source" / "letter.txt")

        reasons = [
            ask(rig, "ls", snapshot_id=GONE, path="/").reason,
            ask(rig, "find", snapshot_id=GONE, text="letter").reason,
            ask(rig, "sizes", snapshot_id=GONE, paths=[letter]).reason,
            ask(rig, "ls", snapshot_id=made, path="/nowhere").reason,
            ask(rig, "ls", snapshot_id=made, path=letter).reason,
            ask(rig, "ls", snapshot_id=made, path=letter + "s").reason,
        ]

        assert reasons == ["snapshot_gone"] * 3 + ["path_gone", "not_a_folder", "path_gone"]

    def test_a_search_finds_names_and_not_what_is_below_them(self, rig: Rig) -> None:
        (rig.base / "source" / "Invoices").mkdir()
        for name in ("Invoices/2024.pdf", "my invoice.txt", "other"):
            (rig.base / "source" / name).write_text("x")
        made = snapshot(rig)

        found = data(rig, "find", snapshot_id=made, text="INVOICE", limit=100)
        below = data(rig, "find", snapshot_id=made, text="invoices/20", limit=100)

        assert sorted(entry["name"] for entry in found["entries"]) == ["Invoices", "my invoice.txt"]
        assert found["is_cut"] is False
        assert [entry["name"] for entry in below["entries"]] == ["2024.pdf"]

    def test_a_search_takes_every_sign_at_its_word_and_ends_at_its_limit(self, rig: Rig) -> None:
        make(rig, [*ODD, *LOST])
        made = snapshot(rig)

        for text, count in (("*", 2), ("?", 1), ("[ab]", 1), ("back\\", 2), ("new\nl", 1), ("{a,b}", 1), ("zz", 0)):
            found = data(rig, "find", snapshot_id=made, text=text, limit=500)
            assert len([one for one in found["entries"] if "/source/" in one["path"]]) == count, (text, found)
        cut = data(rig, "find", snapshot_id=made, text="a", limit=2)
        assert (len(cut["entries"]), cut["is_cut"]) == (2, True)

    def test_sizes_count_a_selection_and_name_what_is_missing(self, rig: Rig) -> None:
        source = rig.base / "source"
        (source / "deep" / "er").mkdir(parents=True)
        (source / "deep" / "er" / "big").write_bytes(bytes(5000))
        (source / "deep*").write_bytes(bytes(7))
        made = snapshot(rig)

        def sizes(*paths: str) -> tuple[int, int]:
            found = data(rig, "sizes", snapshot_id=made, paths=[str(source / path) for path in paths])
            assert found["is_cut"] is False
            return found["files"], found["bytes"]

        everything = data(rig, "sizes", snapshot_id=made, paths=[])

        assert (sizes("deep"), sizes("deep*"), sizes("letter.txt", "deep")) == ((1, 5000), (1, 7), (2, 5011))
        assert (everything["files"], everything["bytes"]) == (3, 5018)
        gone = data(rig, "sizes", snapshot_id=made, paths=[str(source / "nothing")])
        assert (gone["files"], gone["missing"]) == (0, [str(source / "nothing")])

    def test_a_wrong_password_is_told_as_everywhere(self, rig: Rig) -> None:
        made = snapshot(rig)
        rig.password = "wrong"
        rig.enrol()

        answer = ask(rig, "ls", snapshot_id=made, path="/")

        assert (answer.ok, answer.reason) == (False, "wrong_password")


def test_a_restic_that_does_not_end_is_ended_in_time(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "BROWSE_SECONDS", 0.5)
    rig.fake_restic("echo $$ > $HOME/../tmp/none 2>/dev/null; echo $$ > " + str(rig.base / "pid") + "; exec sleep 600")

    answer = ask(rig, "ls", snapshot_id=GONE, path="/")

    assert (answer.ok, answer.reason) == (False, "timeout")
    pid = int((rig.base / "pid").read_text())
    assert not Path(f"/proc/{pid}").exists()


def test_a_search_that_takes_too_long_gives_what_it_has(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "BROWSE_SECONDS", 3.0)
    match = '{"path":"/a/letter","type":"file","size":3,"mtime":"2026-01-01T00:00:00Z","mode":420}'
    rig.fake_restic(f"printf '%s' '[{{\"matches\":[{match},{match}'; exec sleep 600")

    found = data(rig, "find", snapshot_id=GONE, text="letter")

    assert found["is_cut"] is True
    assert [entry["path"] for entry in found["entries"]] == ["/a/letter"]


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ("ls", {"snapshot_id": "latest", "path": "/"}),
        ("ls", {"snapshot_id": "--help", "path": "/"}),
        ("ls", {"snapshot_id": GONE, "path": "relative"}),
        ("ls", {"snapshot_id": GONE, "path": "/a/../b"}),
        ("ls", {"snapshot_id": GONE, "path": "/a//b"}),
        ("ls", {"snapshot_id": GONE, "path": ["/"]}),
        ("find", {"snapshot_id": GONE, "text": ""}),
        ("find", {"snapshot_id": GONE, "text": "x" * 201}),
        ("sizes", {"snapshot_id": GONE, "paths": "/a"}),
        ("sizes", {"snapshot_id": GONE, "paths": ["/a"] * 201}),
        ("sizes", {}),
    ],
)
def test_a_question_that_makes_no_sense_never_reaches_restic(
    rig: Rig, query: str, parameters: dict[str, object]
) -> None:
    rig.fake_restic(f"touch {rig.base}/called")

    answer = ask(rig, query, **parameters)

    assert (answer.ok, answer.reason) == (False, "bad_request")
    assert not (rig.base / "called").exists()


def test_an_answer_fits_into_a_frame_however_long_its_names_are(rig: Rig) -> None:
    lines = rig.base / "lines.json"
    folder, name = "/" + "/".join(["d" * 255] * 30), "\N{GRINNING FACE}" * 60
    with open(lines, "w") as file:
        file.write('{"struct_type":"snapshot"}\n')
        file.write(json.dumps({"path": folder, "type": "dir", "struct_type": "node"}, separators=(",", ":")) + "\n")
        for number in range(600):
            node = {"path": f"{folder}/{name}{number}", "type": "file", "struct_type": "node"}
            file.write(json.dumps(node, separators=(",", ":")) + "\n")
    rig.fake_restic(f"cat {lines}")

    offset, seen = 0, 0
    while offset < 600:
        page = ask(rig, "ls", snapshot_id=GONE, path=folder, offset=offset, limit=500)
        assert page.ok and len(protocol.encode(page).encode()) < 1_000_000
        assert page.data["entries"] and page.data["total"] == 600
        seen += len(page.data["entries"])
        offset += len(page.data["entries"])

    assert seen == 600


def test_a_huge_folder_is_never_held_in_memory(rig: Rig) -> None:
    agent_pid = rig.spawn().pid
    rig.server.connected()
    before = _peak_kib(agent_pid)
    script = (
        'i=0; echo \'{"struct_type":"snapshot"}\'; awk \'BEGIN { for (i = 0; i < 300000; i++)'
        ' printf "{\\"name\\":\\"f%06d\\",\\"type\\":\\"file\\",\\"path\\":\\"/f%06d\\",\\"size\\":5,'
        '\\"mode\\":420,\\"mtime\\":\\"2026-01-01T00:00:00Z\\",\\"struct_type\\":\\"node\\"}\\n", i, i }\''
    )
    rig.fake_restic(script)
    rig.agent = object()  # type: ignore[assignment]  # it runs as a process already
    try:
        found = data(rig, "ls", snapshot_id=GONE, path="/", offset=299_990, limit=500)
    finally:
        rig.agent = None

    assert (found["total"], len(found["entries"]), found["entries"][-1]["name"]) == (300_000, 10, "f299999")
    assert _peak_kib(agent_pid) - before < 30_000


def _peak_kib(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0])


def test_listings_are_bounded_and_their_files_are_for_their_owner_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listings, "MAX_LISTINGS", 3)
    monkeypatch.setattr(listings, "MAX_BYTES", 1000)
    place = tmp_path / "listings"
    place.mkdir()
    (place / "left over").write_text("x")
    kept = Listings(place)
    kept.clear()

    for number in range(5):
        writer = kept.new(("r", "s", str(number)))
        writer.add(b"a file", is_folder=False)
        writer.add(b"a folder", is_folder=True)
        kept.keep(("r", "s", str(number)), writer)
    newest = kept.find(("r", "s", "4"))

    assert kept.find(("r", "s", "1")) is None
    assert newest and newest.page(0, 10) == [b"a folder\n", b"a file\n"]
    assert len(list(place.iterdir())) == 6
    assert {path.stat().st_mode & 0o777 for path in place.iterdir()} == {0o600}
    assert place.stat().st_mode & 0o777 == 0o700


def test_a_listing_that_is_too_large_is_cut_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listings, "MAX_LISTING_BYTES", 20)
    kept = Listings(tmp_path / "listings")
    kept.clear()
    writer = kept.new(("r", "s", "/"))

    for _ in range(10):
        writer.add(b"eight888", is_folder=False)
    listing = kept.keep(("r", "s", "/"), writer)

    assert (listing.total, listing.is_cut) == (2, True)


def test_a_listing_is_asked_for_anew_after_a_quarter_of_an_hour(tmp_path: Path) -> None:
    now = [0.0]
    kept = Listings(tmp_path / "listings", monotonic=lambda: now[0])
    kept.clear()
    kept.keep(("r", "s", "/"), kept.new(("r", "s", "/")))

    now[0] = 899.0
    assert kept.find(("r", "s", "/"))
    now[0] = 901.0
    assert kept.find(("r", "s", "/")) is None
    assert list((tmp_path / "listings").iterdir()) == []


def test_a_pattern_matches_its_text_only() -> None:
    assert browsing.pattern("/a*b?[c]\\d") == "/a\\*b\\?\\[c\\]\\\\d"


def test_bytes_that_are_no_text_look_as_restic_shows_them() -> None:
    shown = [
        entries.as_restic_shows(name) for name in (b"caf\xe9", b"\xff\xfe", b"\xe2\x82", b"ok", "\N{SNOWMAN}".encode())
    ]

    assert shown == ["caf\ufffd", "\ufffd\ufffd", "\ufffd\ufffd", "ok", "\N{SNOWMAN}"]


def test_the_hello_says_what_this_agent_can_be_asked(rig: Rig) -> None:
    rig.start()
    rig.server.connected()

    hello = rig.server.all("hello")[0].payload

    assert {"browse", "restore", "diff"} <= set(hello.features)
    assert (hello.restore_in_place, hello.restore_directory) == (False, str(rig.paths.restore))
