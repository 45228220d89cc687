"""The addresses under /api/ on a client's host."""

from django.urls import include, path, re_path

from loyalty_saas.api.activities import Activities, OneActivity
from loyalty_saas.api.closing import MemberClose
from loyalty_saas.api.front import Description, Elsewhere, ProblemMeaning
from loyalty_saas.api.households import HouseholdMembers, Households, OneHousehold, OneHouseholdMember
from loyalty_saas.api.liability import Liability
from loyalty_saas.api.members import MemberConsents, MemberIdentifiers, MemberMerge, Members, OneMember
from loyalty_saas.api.points import Adjustments, MemberBalance, MemberLedger, MemberTier
from loyalty_saas.api.program import Figures, Locations, ParkedReturns, TheProgram
from loyalty_saas.api.purchases import OnePurchase, PurchasePreview, Purchases
from loyalty_saas.api.replays import OneReplay, Replays
from loyalty_saas.api.rewards import CaptureRedemption, MemberOffer, OneRedemption, Redemptions, Rewards, VoidRedemption
from loyalty_saas.api.tier_grants import MemberTierGrant
from loyalty_saas.api.transfers import Transfers

app_name = "api"

_v1 = [
    # Purchases come most often.
    path("purchases", Purchases.as_view(), name="purchases"),
    path("purchases/preview", PurchasePreview.as_view(), name="purchase-preview"),
    path("purchases/<str:purchase>", OnePurchase.as_view(), name="purchase"),
    path("parked-returns", ParkedReturns.as_view(), name="parked-returns"),
    path("activities", Activities.as_view(), name="activities"),
    path("activities/<str:activity>", OneActivity.as_view(), name="activity"),
    path("members", Members.as_view(), name="members"),
    path("members/<str:member>", OneMember.as_view(), name="member"),
    path("members/<str:member>/balance", MemberBalance.as_view(), name="member-balance"),
    path("members/<str:member>/ledger", MemberLedger.as_view(), name="member-ledger"),
    path("members/<str:member>/tier", MemberTier.as_view(), name="member-tier"),
    path("members/<str:member>/tier-grant", MemberTierGrant.as_view(), name="member-tier-grant"),
    path("members/<str:member>/offer", MemberOffer.as_view(), name="member-offer"),
    path("members/<str:member>/identifiers", MemberIdentifiers.as_view(), name="member-identifiers"),
    path("members/<str:member>/consents", MemberConsents.as_view(), name="member-consents"),
    path("members/<str:member>/merge", MemberMerge.as_view(), name="member-merge"),
    path("members/<str:leaver>/close", MemberClose.as_view(), name="member-close"),
    path("adjustments", Adjustments.as_view(), name="adjustments"),
    path("transfers", Transfers.as_view(), name="transfers"),
    path("households", Households.as_view(), name="households"),
    path("households/<str:household>", OneHousehold.as_view(), name="household"),
    path("households/<str:household>/members", HouseholdMembers.as_view(), name="household-members"),
    path("households/<str:household>/members/<str:member>", OneHouseholdMember.as_view(), name="household-member"),
    path("rewards", Rewards.as_view(), name="rewards"),
    path("redemptions", Redemptions.as_view(), name="redemptions"),
    path("redemptions/<str:redemption>", OneRedemption.as_view(), name="redemption"),
    path("redemptions/<str:redemption>/capture", CaptureRedemption.as_view(), name="redemption-capture"),
    path("redemptions/<str:redemption>/void", VoidRedemption.as_view(), name="redemption-void"),
    path("program", TheProgram.as_view(), name="program"),
    path("program/replays", Replays.as_view(), name="replays"),
    path("program/replays/<str:replay>", OneReplay.as_view(), name="replay"),
    path("figures", Figures.as_view(), name="figures"),
    path("figures/liability", Liability.as_view(), name="liability"),
    path("locations", Locations.as_view(), name="locations"),
    path("problems/<str:code>", ProblemMeaning.as_view(), name="problem"),
    path("schema/", Description.as_view(face="client"), name="schema"),
    path("schema", Description.as_view(face="client")),
]
urlpatterns = [path("v1/", include(_v1)), re_path(r"", Elsewhere.as_view(), name="elsewhere")]
