"""Families with a sample for each host: written as text at once, since an object a sample would cost ten times more."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from rm.domain.figures import figure

END = b"# EOF\n"
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})

Encode = Callable[[CollectorRegistry], bytes]


class Lines(Metric):
    """A gauge whose samples are text already, in parts; `start` is what each of its lines begins with."""

    def __init__(self, name: str) -> None:
        self.figure = figure(name)
        super().__init__(self.figure.full_name, self.figure.help, "gauge")
        self.start = f"{self.name}{{"
        self.pending: list[str] = []
        self.parts: list[bytes] = []

    def add(self, labels: str, value: float | int) -> None:
        """One sample; `labels` as `labelled` wrote them."""
        self.pending.append(f"{self.start}{labels}}} {value}\n")

    def flush(self) -> None:
        """Put what was added since into one part."""
        if self.pending:
            self.parts.append("".join(self.pending).encode("utf-8", "replace"))
            self.pending.clear()

    def written(self) -> list[bytes]:
        """The family with its head; the same in both text formats."""
        self.flush()
        return [f"# HELP {self.name} {self.documentation}\n# TYPE {self.name} gauge\n".encode(), *self.parts]


def labelled(**labels: str) -> str:
    """Labels as text, in the order of their names; whatever a host calls itself cannot end its quotes or its line."""
    return ",".join(f'{name}="{escaped(value)}"' for name, value in sorted(labels.items()))


def escaped(value: str) -> str:
    # Almost no name has any of these, and looking is cheaper than translating.
    return value.translate(_ESCAPES) if '"' in value or "\\" in value or "\n" in value else value


def gauge(name: str) -> GaugeMetricFamily:
    """An empty family of the listed figure."""
    found = figure(name)
    return GaugeMetricFamily(found.family, found.help, labels=found.labels)


def single(name: str, value: float) -> GaugeMetricFamily:
    """A gauge without labels."""
    found = figure(name)
    return GaugeMetricFamily(found.family, found.help, value=value)


def counter(name: str) -> CounterMetricFamily:
    found = figure(name)
    return CounterMetricFamily(found.family, found.help, labels=found.labels)


def single_counter(name: str, value: float) -> CounterMetricFamily:
    found = figure(name)
    return CounterMetricFamily(found.family, found.help, value=value)


def histogram(name: str) -> HistogramMetricFamily:
    found = figure(name)
    return HistogramMetricFamily(found.family, found.help, labels=found.labels)


class Only(CollectorRegistry):
    """A registry of one family, for prometheus-client's encoders."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self):  # type: ignore[no-untyped-def]
        yield self._metric


def encoded(metric: Metric, encode: Encode) -> list[bytes]:
    """A family in the format that was asked for, without the end mark."""
    if isinstance(metric, Lines):
        return metric.written()
    return [encode(Only(metric)).removesuffix(END)]
