"""How much of the disk must stay free, and what the server leaves off first when it does not."""

from dataclasses import dataclass

from rm.errors import Invalid

MIB = 1024 * 1024
OK, LOW, CRITICAL = "ok", "low", "critical"
"""low: log lines are not kept any more. critical: nothing new is ordered either; what runs is still reported."""

AGAIN = 1.1
"""A tenth more must be free before a limit counts as passed, so that it does not flap."""
MAX_MIB = 10 * 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Free MiB in the data directory below which log lines, and below which new orders are refused."""

    low_mib: int = 512
    critical_mib: int = 128

    def checked(self) -> "Limits":
        """These limits; raises Invalid."""
        wrong: dict[str, str] = {}
        if not 1 <= self.low_mib <= MAX_MIB:
            wrong["low_mib"] = f"Between 1 and {MAX_MIB:,} MiB."
        if not 1 <= self.critical_mib <= MAX_MIB:
            wrong["critical_mib"] = f"Between 1 and {MAX_MIB:,} MiB."
        elif not wrong and self.critical_mib >= self.low_mib:
            wrong["critical_mib"] = "Must be less than the limit for log lines: orders are the last to be refused."
        if wrong:
            raise Invalid(wrong)
        return self


def level(free_bytes: int, limits: Limits, *, before: str = OK) -> str:
    """ok, low or critical; a level that was reached is left only with a tenth more than its limit."""
    critical = limits.critical_mib * MIB * (AGAIN if before == CRITICAL else 1)
    low = limits.low_mib * MIB * (AGAIN if before != OK else 1)
    if free_bytes < critical:
        return CRITICAL
    return LOW if free_bytes < low else OK


def effect(level: str) -> str:
    """What the server does at this level, for people."""
    return {
        OK: "Everything is kept.",
        LOW: "Log lines of jobs are not kept just now; each log says where lines are missing. Results are kept.",
        CRITICAL: "Log lines are not kept, new jobs are refused, and a fleet update waits. Backups on schedule run on,"
        " results are kept.",
    }[level]
