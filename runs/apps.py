from __future__ import annotations

from django.apps import AppConfig


class RunsConfig(AppConfig):
    name = "runs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from flows.signals import bindings_changed, live_changed
        from flows.steps.notify import digesting
        from resources import holding as resource_holding
        from resources import keeping, usage, veiling  # models exist from here on
        from resources.notices import digests, mailing
        from resources.notices import forgetting as notices
        from resources.people import reminders
        from resources.signals import limits_changed
        from runs import (
            holding,
            keeper,
            literals,
            overdue,
            permits,
            releases,
            retention,
            signals,
            telling,
            uses,
            watching,
        )
        from runs.dead import duty as replays
        from runs.dead import poison, quarantine
        from runs.incoming import deliveries
        from runs.jobs import claims, logs
        from runs.named import forgetting, triggers
        from runs.outbound import duty, keys, subscriptions
        from runs.schedules import firing, pruning, sync
        from runs.search import keeping as search
        from runs.sensitive import rows as sensitive

        live_changed.connect(releases.on_live_changed, dispatch_uid="releases")
        veiling.register(sensitive.shade_of, sensitive.content_of)
        outbox = duty.Outbox()
        keeper.register("outbound", outbox.run, when=duty.WHEN, finish=outbox.finish)
        keeper.register("releases", releases.turn, when=releases.WHEN)
        keeper.register("retention", retention.run, when=keeper.NEVER)
        keeper.register("resources", keeping.Duty().turn, when=keeper.NEVER)
        resource_holding.register(holding.by_runs)
        resource_holding.register(literals.by_releases)
        keeper.register("replays", replays.turn, when=replays.WHEN)
        keeper.register("quarantine", poison.turn, when=poison.WHEN)
        live_changed.connect(quarantine.on_live_changed, dispatch_uid="quarantine")
        usage.register("connection", subscriptions.using_connection, subscriptions.count_connections)
        usage.register("connection", uses.using_connection)
        usage.register("secret", uses.using_secret)
        keys.register_columns()
        limits_changed.connect(permits.on_limits_changed, dispatch_uid="runs")
        bindings_changed.connect(permits.on_bindings_changed, dispatch_uid="runs")
        keeper.register("limits", permits.tend, when=permits.WHEN)
        live_changed.connect(sync.on_live_changed, dispatch_uid="schedules")
        signals.run_reopened.connect(sync.on_run_reopened, dispatch_uid="schedules")
        keeper.register("schedules", firing.turn, when=firing.WHEN)
        keeper.register("schedules: old times", pruning.Pruning().turn, when=keeper.NEVER)
        live_changed.connect(triggers.on_live_changed, dispatch_uid="named events")
        keeper.register("named events", forgetting.turn, when=keeper.NEVER)
        keeper.register("hook deliveries", deliveries.prune, when=keeper.NEVER)
        keeper.register("jobs", claims.expire, when=claims.WHEN)
        keeper.register("logs of jobs", logs.prune, when=keeper.NEVER)
        keeper.register("deadlines", overdue.tell, when=keeper.NEVER)
        letters = digesting.Duty()
        keeper.register("digests", letters.turn, when=digests.WHEN, finish=letters.finish)
        keeper.register("notices: runs", telling.Duty().turn, when=keeper.NEVER)
        keeper.register("tokens that end soon", reminders.turn, when=keeper.NEVER)
        keeper.register("notices: the product's own", watching.Duty().turn, when=keeper.NEVER)
        keeper.register("notices: e-mail", mailing.turn, when=mailing.WHEN)
        usage.register("connection", mailing.using_connection)
        keeper.register("notices", notices.turn, when=keeper.NEVER)
        keeper.register("search", search.Duty().turn, when=search.WHEN)
