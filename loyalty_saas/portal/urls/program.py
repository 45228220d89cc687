"""The program and its rewards."""

from django.urls import path

from loyalty_saas.portal.views import program, program_parts, replays, rewards

urlpatterns = [
    path("program/", program.program, name="program"),
    path("program/begin/", program.begin, name="program_begin"),
    path("program/discard/", program.discard, name="program_discard"),
    path("program/publish/", program.publish, name="program_publish"),
    path("program/try/", program.try_it, name="program_try"),
    path("program/replays/", replays.replays, name="replays"),
    path("program/replays/<uuid:replay_id>/", replays.replay, name="replay"),
    path("program/replays/<uuid:replay_id>/stop/", replays.stop, name="replay_stop"),
    path("program/versions/", program.history, name="program_versions"),
    path("program/versions/<uuid:program_id>/", program.version, name="program_version"),
    path("program/versions/<uuid:program_id>/draft/", program.draft_from, name="program_draft_from"),
    path("program/basics/", program_parts.basics, name="program_basics"),
    path("program/tiers/", program_parts.tiers, name="program_tiers"),
    path("program/tiers/said/", program_parts.tiers_said, name="program_tiers_said"),
    path("program/rules/add/", program_parts.add_rule, name="program_add_rule"),
    path("program/rules/said/", program_parts.rule_said, name="program_rule_said"),
    path("program/rules/edit/<str:code>/", program_parts.rule, name="program_rule"),
    path("program/rules/edit/<str:code>/remove/", program_parts.remove_rule, name="program_remove_rule"),
    path("program/offers/add/", program_parts.add_offer, name="program_add_offer"),
    path("program/offers/edit/<str:code>/", program_parts.offer, name="program_offer"),
    path("program/offers/edit/<str:code>/remove/", program_parts.remove_offer, name="program_remove_offer"),
    path("rewards/", rewards.rewards, name="rewards"),
    path("rewards/add/", rewards.add_reward, name="rewards_add"),
    path("rewards/said/", rewards.reward_said, name="rewards_said"),
    path("rewards/edit/<str:code>/", rewards.reward, name="rewards_edit"),
    path("rewards/edit/<str:code>/shelf/", rewards.shelve, name="rewards_shelve"),
]
