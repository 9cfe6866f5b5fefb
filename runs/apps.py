from __future__ import annotations

from django.apps import AppConfig


class RunsConfig(AppConfig):
    name = "runs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from resources import usage  # models exist from here on
        from runs import keeper, retention
        from runs.outbound import duty, subscriptions

        outbox = duty.Outbox()
        keeper.register("outbound", outbox.run, finish=outbox.finish)
        keeper.register("retention", retention.run)
        usage.register("connection", subscriptions.using_connection)
