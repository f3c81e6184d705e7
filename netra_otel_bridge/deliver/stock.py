"""The stock exporters, found through their entry points."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import requests
from opentelemetry.sdk.trace.export import SpanExporter

from netra_otel_bridge.clock import Clock, parse_retry_after
from netra_otel_bridge.deliver.answers import http_outcome, web_page_outcome
from netra_otel_bridge.deliver.overheard import Judged, os_error_outcome, overhear
from netra_otel_bridge.errors import ConfigurationError
from netra_otel_bridge.model import Outcome

_log = logging.getLogger(__name__)
GROUP = "opentelemetry_traces_exporter"


def exporter_class(name: str) -> Callable[..., SpanExporter]:
    """What the ``opentelemetry_traces_exporter`` entry point ``name`` stands for.

    Raises `ConfigurationError` naming those that are installed, or saying why this one does not load.
    """
    found: dict[str, EntryPoint] = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        raise ConfigurationError(
            f"there is no traces exporter named {name!r}",
            hint=f"installed here: {', '.join(sorted(found)) or 'none'}; install the package that brings {name!r}",
        )
    try:
        loaded: Callable[..., SpanExporter] = found[name].load()
    except Exception as error:
        raise ConfigurationError(
            f"the traces exporter {name!r} ({found[name].value}) cannot be loaded: {type(error).__name__}: {error}",
            hint="reinstall the package that brings it",
        ) from error
    return loaded


def new_exporter(name: str, **arguments: Any) -> SpanExporter:
    """An exporter made by its entry point. Raises `ConfigurationError` where it cannot be made from its settings.

    What it logs meanwhile is repeated without values: of a header that cannot be read it would show the key.
    """
    make = exporter_class(name)
    try:
        with overhear(("opentelemetry",)) as heard:
            exporter = make(**arguments)
    except Exception as error:
        raise ConfigurationError(
            f"the traces exporter {name!r} cannot be set up: {type(error).__name__}: {error}",
            hint="look at its environment variables (OTEL_EXPORTER_...)",
        ) from error
    for form in heard.forms:
        _log.warning("%s: while it was set up, the exporter said: %s", name, form)
    if not callable(getattr(exporter, "export", None)):
        raise ConfigurationError(f"the entry point {name!r} of {GROUP} does not make a span exporter")
    return exporter


class _NotTaken(requests.RequestException, Judged):
    """Ends the exporter's attempt at whatever is not a plain yes: no redirect is followed, no loop begun."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__("not taken")
        self.outcome = outcome


class ObservedSession(requests.Session):
    """A session for the stock HTTP exporter that reads each answer whole before the exporter judges it.

    The exporter logs neither body nor ``Retry-After`` nor, at the end of its time, the error; it takes a web page for
    success and, by version, follows a redirect with the headers (and the key in them) or takes it for success.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.hooks["response"].append(self._judge)

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """A certificate named for OTLP wins over ``REQUESTS_CA_BUNDLE``, which `requests` would prefer."""
        named = self.verify if verify is None and isinstance(self.verify, str) else verify
        return super().merge_environment_settings(url, proxies, stream, named, cert)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """One request; an error is told once and for all, so that the exporter does not try again by itself."""
        try:
            return super().send(request, **kwargs)
        except _NotTaken:
            raise
        except requests.RequestException as error:
            raise _NotTaken(os_error_outcome(error)) from error

    def _judge(self, response: requests.Response, *_: Any, **__: Any) -> None:
        body = response.content
        answer = _judgement(response, body, self._clock)
        if answer is not None:
            raise _NotTaken(answer)


def _judgement(response: requests.Response, body: bytes, clock: Clock) -> Outcome | None:
    """The outcome of an answer that is not a yes, else ``None``."""
    content_type = response.headers.get("Content-Type", "")
    if 200 <= response.status_code < 300:
        return web_page_outcome(response.status_code, content_type) if "html" in content_type else None
    after_s = parse_retry_after(response.headers.get("Retry-After"), clock.now_ns())
    return http_outcome(response.status_code, body, content_type, after_s)
