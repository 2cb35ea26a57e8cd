"""What to do about an update that a host refused or that failed: a sentence, and a line to type where there is one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fix:
    """What to do, and what to type on the host."""

    text: str = ""
    command: str = ""


def repair(base_url: str) -> str:
    """The line that renews guard, units and agent on a host and keeps its credential."""
    return f"curl -fsSL {base_url}/install.sh | sudo sh -s -- --repair"


def fix(reason: str, *, base_url: str, artifact_sha256: str) -> Fix:
    """What to do about this reason; empty words where the message says all there is."""
    if reason in _REPAIR:
        return Fix(_REPAIR[reason], repair(base_url))
    if reason == "known_bad":
        return Fix(
            "It came back from this very file before. When the cause was the host's own, let the host forget that.",
            f"sudo rm-agent forget-bad {artifact_sha256}",
        )
    return _FIXES.get(reason, Fix())


_PROGRAM_DIR = "/usr/local/lib/restic-manager"
_JOURNAL = "sudo journalctl -u rm-agent --since '1 hour ago'"
_REPAIR = {
    "guard_too_old": "Renew guard and units on the host, then update again. Its credential and its state stay.",
    "not_replaceable": "Install the agent where the guard looks after it, then update again.",
    "no_supervisor": "Let the installer write the unit anew, then update again.",
    "read_only": "Let the installer write the unit anew. If the file system itself is read-only, mount it writable.",
    "not_writable": "The agent must write, rename and start a file in its directory. See what forbids that there.",
}
_BROKEN = (
    "The host is safe: it runs the agent it ran before. Its system log says why the new one did not hold; "
    "it is not tried again with this release unless it is forced."
)
_SILENT = "Look at the host: does it run, does it reach this server? When it reports, this verdict is corrected."
_TAMPERED = "Do not go on with this release. Find out who changed it, then import it again from its maker."
_FIXES = {
    "no_space": Fix("Free space in the agent's directory, then update again.", f"df -h {_PROGRAM_DIR}"),
    "no_inodes": Fix("Remove files from that file system, then update again.", f"df -i {_PROGRAM_DIR}"),
    "no_space_for_state": Fix("Free space there, then update again.", "df -h /var/lib/restic-manager-agent"),
    "disk_full": Fix("Free space on the host, then update again.", f"df -h {_PROGRAM_DIR}"),
    "no_exec": Fix(
        "Mount that file system without noexec, then update again.",
        f'sudo mount -o remount,exec "$(findmnt -no TARGET -T {_PROGRAM_DIR})"',
    ),
    "preflight_timeout": Fix("A network mount may hang. This shows which one.", "df"),
    "preflight_failed": Fix("The agent's own check says more.", "sudo rm-agent doctor"),
    "in_container": Fix("Start the container from a newer image. An update inside would be gone with it."),
    "managed_by_package": Fix("Update it with the host's package manager, as the message says."),
    "pinned": Fix("The host's owner has the last word. To let it be updated, on the host:", "sudo rm-agent unpin"),
    "boots": Fix(_BROKEN, _JOURNAL),
    "health": Fix(_BROKEN, _JOURNAL),
    "release": Fix(_BROKEN, _JOURNAL),
    "selftest": Fix("The new agent did not pass its own test; nothing was changed.", _JOURNAL),
    "selftest_failed": Fix("The new agent did not pass its own test; nothing was changed.", _JOURNAL),
    "no_hello": Fix(_SILENT, "sudo rm-agent status"),
    "came_back_old": Fix(_SILENT, "sudo rm-agent status"),
    "no_result": Fix(_SILENT, "sudo rm-agent status"),
    "no_sign": Fix("Update it again. If that fails too, look at the agent on the host.", "sudo rm-agent doctor"),
    "silent": Fix("Update it again. If that fails too, look at the agent on the host.", "sudo rm-agent doctor"),
    "connection_lost": Fix("Update it again when the host is connected. Nothing was changed on it."),
    "unreachable": Fix("The new agent could not reach this server. Is there a proxy or a firewall in between?"),
    "server_unreachable": Fix("The host could not reach this server.", "sudo rm-agent doctor"),
    "wrong_hash": Fix(_TAMPERED),
    "signature": Fix(_TAMPERED),
    "signature_invalid": Fix(_TAMPERED),
    "wrong_size": Fix(_TAMPERED),
    "same_seq_other_hash": Fix(_TAMPERED),
    "below_floor": Fix(
        "Hosts never go below what they kept. To allow it once, on the host:", "sudo rm-agent allow-downgrade"
    ),
    "no_trust": Fix(
        "The host was enrolled before this server had release keys. Enrol it again from its settings; it keeps its "
        "history."
    ),
    "too_many_swaps": Fix("At most four swaps an hour, so that nothing flaps. Update it again in an hour."),
    "state_damaged": Fix("The agent's own check says what is damaged.", "sudo rm-agent doctor"),
    "agent_error": Fix("This is a fault in the agent; its log has the details.", _JOURNAL),
    "no_previous": Fix("The previous agent is not on the host any more. Install the version you want by hand."),
    "previous_too_old": Fix("The previous agent is kept for 7 days. Install the version you want by hand."),
    "order_expired": Fix("The order came too late, or the host's clock is wrong. Update it again."),
    "stale_order": Fix("A newer order had come already. Look at the host's newest update."),
    "revert_failed": Fix("Install the agent anew on the host; its credential and its state stay.", _JOURNAL),
}  # fmt: skip
