from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    name = "approvals"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from approvals import holding, opening, telling, votes
        from resources import holding as resource_holding
        from runs import keeper, signals

        signals.wait_opened.connect(opening.wait_opened, dispatch_uid="approvals")
        signals.wait_closed.connect(opening.wait_closed, dispatch_uid="approvals")
        resource_holding.register(holding.by_requests)
        resource_holding.register(votes.by_votes)
        keeper.register("notices: approvals", telling.Duty().turn, when=keeper.NEVER)
