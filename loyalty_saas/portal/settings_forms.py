"""What the portal asks for on the pages of settings."""

from typing import Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy


class HouseForm(forms.Form):
    """The business: its name, and the languages its members are spoken to in."""

    name = forms.CharField(label=gettext_lazy("Name of the business"), max_length=100)
    main = forms.ChoiceField(
        label=gettext_lazy("Main language"),
        choices=settings.LANGUAGES,
        help_text=gettext_lazy("Cards and mails are in it where nothing is known of a member's language."),
    )
    languages = forms.MultipleChoiceField(
        label=gettext_lazy("Further languages"),
        choices=settings.LANGUAGES,
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )

    @property
    def chosen(self) -> list[str]:
        """The languages, the main one first."""
        return list(dict.fromkeys([self.cleaned_data["main"], *self.cleaned_data["languages"]]))


class NewLocationForm(forms.Form):
    """A further location."""

    code = forms.RegexField(
        label=gettext_lazy("Code"),
        regex=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        max_length=50,
        error_messages={"invalid": gettext_lazy("Use letters, digits, hyphens and dots, without spaces.")},
        help_text=gettext_lazy("What tills and files call it, such as main-street. It stays as it is."),
    )
    name = forms.CharField(label=gettext_lazy("Name"), max_length=100)


class LocationNameForm(forms.Form):
    """Another name for a location."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=100)


class ProductForm(forms.Form):
    """Something sold."""

    sku = forms.CharField(label=gettext_lazy("Article number"), max_length=64)
    name = forms.CharField(label=gettext_lazy("Name"), max_length=200, required=False)
    category = forms.CharField(
        label=gettext_lazy("Category"),
        max_length=64,
        required=False,
        help_text=gettext_lazy("Rules can count by category; write it the same each time."),
    )
    earning = forms.BooleanField(
        label=gettext_lazy("Earns points"),
        required=False,
        help_text=gettext_lazy("Untick it for gift cards, deposits and the like."),
    )

    def __init__(self, *args: Any, is_new: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not is_new:
            self.fields["sku"].disabled = True
            self.fields["sku"].help_text = _("Tills and files know the article by it; it stays as it is.")
