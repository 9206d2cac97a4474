"""From what a server was told: the watch over its bundles, and the memory of its answers."""

from __future__ import annotations

from adaptune.core.errors import AdaptuneError
from adaptune.core.log import warn
from adaptune.serve.config import Remembering, Watching
from adaptune.serve.memory import Memory
from adaptune.serve.metrics import Metrics
from adaptune.serve.pool import Pool
from adaptune.serve.store import Store
from adaptune.serve.watch.deliver import File, Log, Receiver, Webhook
from adaptune.serve.watch.rules import Rule, read_rules
from adaptune.serve.watcher import Watcher


def open_watcher(config: Watching, pool: Pool, metrics: Metrics) -> Watcher:
    """Raises AdaptuneError for rules that do not read, and for places that alerts cannot go to."""
    if config.rules is None and (config.alerts is not None or config.webhooks):
        raise AdaptuneError("--alerts and --webhook say where alerts go, and no rules raise any; give --rules, too")
    rules = () if config.rules is None else read_rules(config.rules)
    for rule in rules:
        _check(rule, pool)
    lost = metrics.lost_alerts.inc
    receivers: list[Receiver] = [Log()]
    receivers += [] if config.alerts is None else [File(config.alerts, lost)]
    receivers += [Webhook(url, lost) for url in config.webhooks]
    return Watcher(pool, metrics, rules=rules, receivers=receivers)


def open_memory(config: Remembering, metrics: Metrics) -> Memory | None:
    """None where nothing is to be remembered. Raises AdaptuneError for a database that cannot be used."""
    if config.store is None:
        if config.keep_texts:
            raise AdaptuneError("--keep-texts says what is kept of answers, and none are; give --store, too")
        return None
    store = Store(config.store)
    lost = metrics.lost_predictions.inc
    return Memory(store, keep_texts=config.keep_texts, seconds=config.seconds, dropped=lost)


def check_told(watching: Watching, remembering: Remembering) -> None:
    """What is wrong with either, told before a model is loaded. Raises AdaptuneError."""
    if watching.rules is not None:
        read_rules(watching.rules)
    if remembering.store is not None:
        Store(remembering.store).close()


def _check(rule: Rule, pool: Pool) -> None:
    """A bundle may come later; a task that it has not never comes."""
    if rule.bundle not in pool.names():
        warn(f"rule {rule.name!r} watches the bundle {rule.bundle!r}, which is not there yet")
        return
    names = [one.name for one in pool.find(rule.bundle).tasks]
    if rule.task not in names:
        there = ", ".join(name for name in names if name is not None)
        expected = f"name one of its tasks: {there}" if there else "it has one task, without a name; leave `task` out"
        raise AdaptuneError(
            f"rule {rule.name!r}, task: bundle {rule.bundle!r} has none called {rule.task!r}; {expected}"
        )
