"""What follows when a watched file has changed: rules, levels, what is shown, what is forgotten."""

from collections.abc import Callable, Iterator
from functools import partial

from service.live import Live
from service.logs import Log
from service.metrics import NOBODY, Metrics
from service.resilience.cache import Cache
from service.sessions import Place
from service.settings.schema import Settings
from service.watch import Change, Outcome
from service.wiring.observers import MEANINGS, OF_PROVIDERS, OTHERS, ReloadObserver
from service.wiring.reloading import CONFIGURATION, Rules


class Followers:
    """What follows from a change of a watched file, beside its being counted.

    ``fingerprint`` is of the configuration in use and is replaced with it. ``wall`` gives UNIX
    seconds; ``build`` is the running version.
    """

    def __init__(
        self,
        rules: Rules,
        cache: Cache[Place] | None,
        fingerprint: Live[str],
        *,
        metrics: Metrics,
        log: Log,
        wall: Callable[[], float],
        build: str,
    ) -> None:
        self._rules = rules
        self._cache = cache
        self._fingerprint = fingerprint
        self._metrics = metrics
        self._log = log
        self._reloads = ReloadObserver(metrics, log, wall=wall)
        self._build = build
        self._level: str | None = None
        self._settings: Live[Settings] | None = None

    def begin(self, settings: Live[Settings]) -> None:
        """Say which configuration this process began with."""
        self._settings, self._level = settings, settings.value.logging.level
        self._tell(settings.value)

    def began(self, name: str) -> None:
        """Say that a watched file is in use from now on."""
        self._reloads.began(name)

    def changed(self, change: Change) -> None:
        """Follow a change; a faulty one changes nothing."""
        self._reloads.changed(change)
        if change.outcome is not Outcome.REPLACED:
            return
        if change.name == CONFIGURATION and self._settings is not None:
            self._fingerprint.replace(self._settings.value.fingerprint())
            self._rules.follow(self._settings.value)
            self._tell(self._settings.value)
            self._hear(self._settings.value.logging.level)
        if self._cache is not None:
            self._cache.clear()

    def _tell(self, settings: Settings) -> None:
        metrics, limits = self._metrics, self._rules.limits
        metrics.forget("build_info")
        metrics.set("build_info", 1, self._build, self._fingerprint.value[:16])
        metrics.forget("caller_users")
        for caller in limits.callers:
            metrics.read("caller_users", partial(limits.users, caller), caller)
            for meaning in MEANINGS:
                metrics.begin("requests", caller, meaning)
        for name, limit in _limits(settings):
            metrics.begin("limits_hit", name, limit)
        for row in settings.callers:
            if row.candidate_grants:
                metrics.begin("would_deny", row.name)
        for provider in (OTHERS, *sorted(self._rules.providers)):
            for meaning in OF_PROVIDERS:
                metrics.begin("provider_requests", provider, meaning)

    def _hear(self, level: str) -> None:
        if level != self._level:
            self._level = level
            self._log.set_level(level)
            self._log.warning("log-level", to=level)


def _limits(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield each limit that a caller can hit."""
    yield NOBODY, "flood"
    for row in settings.callers:
        limits = row.limits
        if limits.rate:
            yield row.name, "limit-rate"
        yield row.name, "limit-in-flight"  # has a default
        if limits.distinct_users is not None:
            yield row.name, "limit-distinct-users"
