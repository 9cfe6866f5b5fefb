from django.apps import AppConfig


class FlowsConfig(AppConfig):
    name = "flows"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from flows import uses
        from resources import usage  # models exist from here on

        usage.register("connection", uses.using_connection, uses.count_connections)
        usage.register("secret", uses.using_secret)
