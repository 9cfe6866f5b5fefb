from __future__ import annotations

from django.apps import AppConfig


class ResourcesConfig(AppConfig):
    name = "resources"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from resources import connections, oauth_kept, secret_versions, usage, warnings  # models exist from here on

        usage.register("secret", connections.using_secret)
        secret_versions.register_columns()
        oauth_kept.register_columns()
        warnings.register_checks()
