from django.apps import AppConfig


class RunsConfig(AppConfig):
    name = "runs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from flows.signals import live_changed
        from runs import keeper, releases

        live_changed.connect(releases.on_live_changed, dispatch_uid="releases")
        keeper.register("releases", releases.turn)
