from django.apps import AppConfig


class OrchestraConfig(AppConfig):
    name = "orchestra"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.conf import settings

        from orchestra import gate, load
        from runs import keeper

        if settings.LOAD_FILE:
            keeper.register("load", load.write)
        gate.loaded("apps")  # the last app: all that a worker needs is loaded, and no database was asked
