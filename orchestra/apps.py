from django.apps import AppConfig


class OrchestraConfig(AppConfig):
    name = "orchestra"
    default_auto_field = "django.db.models.BigAutoField"
