"""One report that waits in the outbox, and the mark that takes the place of dropped log lines."""

from dataclasses import dataclass

from rm.shared import ids
from rm.shared.protocol import FROM_AGENT, JobLog, LogLine, Message, decode, encode

LOG = "job.log"


@dataclass(frozen=True)
class Report:
    """One waiting report; `cut_lines` counts the log lines that were dropped in its place."""

    seq: int
    id: str
    type: str
    job_id: str
    frame: str
    cut_lines: int = 0

    @property
    def size(self) -> int:
        return len(self.frame.encode())


def _lines(report: Report) -> list[LogLine]:
    message: Message = decode(report.frame, FROM_AGENT)
    batch: JobLog = message.payload
    return batch.lines


def cut(place: Report, dropped: Report | None) -> Report:
    """The mark that stands where lines were dropped: a new report in the place of the oldest of them."""
    if dropped is None:
        lines = _lines(place)
        count, first = len(lines), lines[0]
    else:
        count, first = place.cut_lines + len(_lines(dropped)), _lines(place)[0]
    line = LogLine(
        n=first.n, at=first.at, stream="cut", text=f"{count} lines were dropped here: the agent's outbox was full"
    )
    # A new id: an answer to the batch that stood here must not count for the mark.
    message_id = ids.new_ulid()
    frame = encode(JobLog(job_id=place.job_id, lines=[line]), message_id)
    return Report(place.seq, message_id, LOG, place.job_id, frame, count)
