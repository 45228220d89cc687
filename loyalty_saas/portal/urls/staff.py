"""People, clerks and tills."""

from django.urls import path

from loyalty_saas.portal.views import clerks, staff, tills

urlpatterns = [
    path("staff/", staff.staff, name="staff"),
    path("staff/invite/", staff.invite, name="invite"),
    path("staff/invitations/<uuid:invitation_id>/again/", staff.resend, name="invitation_again"),
    path("staff/invitations/<uuid:invitation_id>/withdraw/", staff.withdraw, name="invitation_withdraw"),
    path("staff/people/<uuid:grant_id>/remove/", staff.remove, name="role_remove"),
    path("staff/clerks/", clerks.clerks, name="clerks"),
    path("staff/clerks/add/", clerks.add, name="clerk_add"),
    path("staff/clerks/<uuid:clerk_id>/", clerks.clerk, name="clerk"),
    path("staff/clerks/<uuid:clerk_id>/pin/", clerks.pin, name="clerk_pin"),
    path("staff/clerks/<uuid:clerk_id>/unlock/", clerks.unlock, name="clerk_unlock"),
    path("staff/clerks/<uuid:clerk_id>/retire/", clerks.retire, name="clerk_retire"),
    path("staff/clerks/<uuid:clerk_id>/return/", clerks.bring_back, name="clerk_return"),
    path("staff/tills/", tills.tills, name="tills"),
    path("staff/tills/code/", tills.new_code, name="till_code_new"),
    path("staff/tills/codes/<uuid:code_id>/", tills.code_state, name="till_code"),
    path("staff/tills/codes/<uuid:code_id>/withdraw/", tills.withdraw_code, name="till_code_withdraw"),
    path("staff/tills/<uuid:device_id>/", tills.till, name="till"),
    path("staff/tills/<uuid:device_id>/unlock/", tills.unlock, name="till_unlock"),
    path("staff/tills/<uuid:device_id>/revoke/", tills.revoke, name="till_revoke"),
]
