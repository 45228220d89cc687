"""A provider's name and look."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from loyalty_saas import brand_form
from loyalty_saas.brand_form import BrandForm, brand_of
from loyalty_saas.console.forms import House
from loyalty_saas.console.scope import STAFF, Scope, scope_of
from loyalty_saas.faces import PlatformRequest
from tenants.access import admits
from tenants.context import public_atomic
from tenants.models import Provider
from tenants.services import audit


@admits(*STAFF)
@require_http_methods(["GET", "HEAD", "POST"])
def settings(request: PlatformRequest) -> HttpResponse:
    """Show and change the name, the colours and the logo of one provider."""
    if request.htmx and request.method == "GET":
        return brand_form.preview(request)
    scope = scope_of(request)
    house = scope.house(request.GET.get("provider", ""))
    form = House(request.POST or None, initial={"name": house.name})
    look = BrandForm(request.POST or None, request.FILES or None, brand=brand_of(provider=house))
    if request.method == "POST" and all([form.is_valid(), look.is_valid()]):
        _save(scope, house, form, look)
        messages.success(request, _("Saved. The pages have their new look from now on."))
        return redirect(f"{reverse('console:settings')}?provider={house.slug}")
    context = {"form": form, "look": look, "house": house, "houses": scope.houses}
    status = 422 if form.errors or look.errors else 200
    return render(request, "console/settings.html", context, status=status)


def _save(scope: Scope, house: Provider, form: House, look: BrandForm) -> None:
    with public_atomic():
        Provider.objects.filter(pk=house.pk).update(name=form.cleaned_data["name"])
        brand = look.save(at=scope.at, provider=house)
        audit.record(
            action="provider.changed",
            actor=scope.actor,
            subject=house.slug,
            detail={
                "provider": str(house.pk),
                "name": form.cleaned_data["name"],
                "accent": brand.accent,
                "typeface": brand.typeface,
                "corners": brand.corners,
                "logo": bool(brand.logo),
            },
            at=scope.at,
        )
