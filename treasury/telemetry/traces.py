"""OpenTelemetry spans of turns, plans and calls, by the extra `otel`: made when they are over."""

from importlib import import_module
from typing import Any, Final

from treasury.domain.errors import PluginError
from treasury.domain.turn import Entry
from treasury.engine import Book
from treasury.ports import Clock
from treasury.runtime.observer import Observer

_SDK: Final = "opentelemetry.sdk"
_EXPORTER: Final = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


def open_tracer(endpoint: str) -> Any:
    """A tracer that sends to an OTLP address. Raises PluginError where the extra is missing."""
    try:
        trace = import_module(f"{_SDK}.trace")
        export = import_module(f"{_SDK}.trace.export")
        resource = import_module(f"{_SDK}.resources")
        exporter = import_module(_EXPORTER)
    except ModuleNotFoundError as error:
        raise PluginError(
            "daemon.traces needs OpenTelemetry: pip install 'spot-treasury[otel]'"
        ) from error
    named = resource.Resource.create({"service.name": "treasury"})
    provider = trace.TracerProvider(resource=named)
    sender = exporter.OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(export.BatchSpanProcessor(sender))
    return provider.get_tracer("treasury")


class Traces(Observer):
    """The shell's work as spans. A turn that decided nothing leaves none."""

    def __init__(self, tracer: Any, clock: Clock) -> None:
        self._tracer, self._clock = tracer, clock

    def _span(self, name: str, took_ns: int, **attributes: str | int) -> Any:
        end = self._clock.now()
        span = self._tracer.start_span(name, start_time=end - took_ns, attributes=attributes)
        return span, end

    def turned(
        self, entry: Entry, book: Book, *, inputs: int, step_ns: int, commit_ns: int
    ) -> None:
        """A turn, its decision and its commit."""
        del book
        if not (entry.facts or entry.commands):
            return
        span, end = self._span(
            "turn",
            step_ns + commit_ns,
            turn=entry.seq,
            inputs=inputs,
            facts=len(entry.facts),
            transfers=len(entry.transfers),
            commands=len(entry.commands),
        )
        span.add_event("decided", timestamp=end - commit_ns)
        span.end(end)

    def planned(self, version: int, actions: int, took_ns: int) -> None:
        """A strategy's answer."""
        span, end = self._span("plan", took_ns, version=version, actions=actions)
        span.end(end)

    def called(self, provider: str, what: str, took_ns: int) -> None:
        """A request that succeeded."""
        span, end = self._span(what, took_ns, provider=provider)
        span.end(end)

    def failed(self, provider: str, what: str, error: BaseException) -> None:
        """A request that failed."""
        span, end = self._span(what, 0, provider=provider, error=type(error).__name__)
        span.end(end)
