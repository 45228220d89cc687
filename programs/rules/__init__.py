"""
What a program grants: its document read and checked, its rules compiled, and an event put to them.

Plain values in, plain values out: no Django, no clock, no database; whole numbers and decimals only.
"""

from programs.rules.arithmetic import add_months, distribute, expires_on, period_key, reversal
from programs.rules.documents import parse_program
from programs.rules.evaluation import CompiledRules, compile_rules, evaluate, preview
from programs.rules.events import Evaluation, Event, EventKind, Line, MemberState, Outcome, Result
from programs.rules.rule_documents import rule_document
from programs.rules.specs import (
    LIMIT,
    SEGMENTS,
    Caps,
    Condition,
    Effect,
    ExpirySpec,
    MemberCap,
    OfferSpec,
    Problem,
    ProgramError,
    ProgramSpec,
    RewardSpec,
    RuleSpec,
    Schedule,
    TierSetSpec,
    TierSpec,
    UnitSpec,
)
from programs.rules.tiers import missing_to_keep, missing_to_next, tier_for

__all__ = [
    "LIMIT",
    "SEGMENTS",
    "Caps",
    "CompiledRules",
    "Condition",
    "Effect",
    "Evaluation",
    "Event",
    "EventKind",
    "ExpirySpec",
    "Line",
    "MemberCap",
    "MemberState",
    "OfferSpec",
    "Outcome",
    "Problem",
    "ProgramError",
    "ProgramSpec",
    "Result",
    "RewardSpec",
    "RuleSpec",
    "Schedule",
    "TierSetSpec",
    "TierSpec",
    "UnitSpec",
    "add_months",
    "compile_rules",
    "distribute",
    "evaluate",
    "expires_on",
    "missing_to_keep",
    "missing_to_next",
    "parse_program",
    "period_key",
    "preview",
    "reversal",
    "rule_document",
    "tier_for",
]
