"""Pages of dead letters and of inputs in quarantine."""

from __future__ import annotations

from django.urls import path

from runs.dead import views

urlpatterns = [
    path("dead-letters", views.letter_list, name="dead-letters"),
    path("dead-letters/do", views.letters_do, name="dead-letters-do"),
    path("dead-letters/replays", views.replay_list, name="replays"),
    path("dead-letters/replays/<int:batch_id>", views.replay_page, name="replay"),
    path("dead-letters/replays/<int:batch_id>/abort", views.replay_abort, name="replay-abort"),
    path("quarantine", views.quarantine_list, name="quarantine"),
    path("quarantine/<int:pk>", views.quarantine_entry, name="quarantine-entry"),
    path("quarantine/<int:pk>/release", views.quarantine_release, name="quarantine-release"),
]
