"""What the portal asks for."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from members.services.imports import COLUMNS, REQUIRED

_NAMES = {
    "document": _("Receipt number"),
    "member": _("Member"),
    "timestamp": _("Time of purchase"),
    "amount": _("Amount of the line"),
    "currency": _("Currency"),
    "sku": _("Article number"),
    "description": _("Article"),
    "category": _("Category"),
    "quantity": _("Quantity"),
    "unit_price": _("Price of one"),
    "location": _("Location"),
    "channel": _("Channel"),
    "paid_by_points": _("Paid by points"),
}


class ImportFile(forms.Form):
    """A file of purchases, and what its columns are called where we do not know the names."""

    file = forms.FileField(label=_("File"), help_text=_("CSV with a header, also packed with gzip."))
    dry_run = forms.BooleanField(
        label=_("Only try it out"),
        required=False,
        help_text=_("The file is read and checked, and nothing is recorded."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["file"].widget.attrs["accept"] = ".csv,.gz,text/csv"
        for ours in COLUMNS:
            self.fields[f"column_{ours}"] = forms.CharField(
                label=_NAMES.get(ours, ours), required=False, max_length=100
            )

    @property
    def mapping(self) -> dict[str, str]:
        """Our columns by the names they have in the file, where some were given."""
        named = {ours: self.cleaned_data.get(f"column_{ours}", "").strip() for ours in COLUMNS}
        return {ours: theirs for ours, theirs in named.items() if theirs}

    @property
    def column_fields(self) -> list[forms.BoundField]:
        """The fields for names of columns, those we cannot do without first."""
        names = [*REQUIRED, *(name for name in COLUMNS if name not in REQUIRED)]
        return [self[f"column_{name}"] for name in names]

    @property
    def has_column_errors(self) -> bool:
        """Whether the names of the columns need another look."""
        return any(one.errors or one.data for one in self.column_fields)


class Dismissal(forms.Form):
    """Why a return without a sale needs nothing more."""

    reason = forms.CharField(label=_("Reason"), max_length=200)
