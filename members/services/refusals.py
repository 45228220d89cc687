"""Why a service says no: a code that stays, words for people, and the field that is meant."""


class Refused(Exception):
    """The request is understood and refused; nothing has changed."""

    code = "refused"

    def __init__(self, words: str, *, field: str = "") -> None:
        super().__init__(words)
        self.words, self.field = words, field


class UnknownMember(Refused):
    """No member has this identifier."""

    code = "unknown_member"


class UnknownPurchase(Refused):
    """No sale has this document number."""

    code = "unknown_purchase"


class ReceiptConflict(Refused):
    """The receipt is recorded already, with other content."""

    code = "receipt_conflict"


class OverReturn(Refused):
    """More would come back than was sold and is not back yet."""

    code = "over_return"


class KeyReused(Refused):
    """The idempotency key was used with another request."""

    code = "key_reused"
