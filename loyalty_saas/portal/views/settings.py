"""What the shop sets up: its name and look, its locations and products; and its data to take along."""

from typing import Any, Final
from uuid import UUID

from allauth.account.decorators import reauthentication_required
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, Q
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from loyalty_saas import brand_form
from loyalty_saas.brand_form import BrandForm, brand_of
from loyalty_saas.faces import ClientRequest
from loyalty_saas.portal import exports
from loyalty_saas.portal.settings_forms import HouseForm, LocationNameForm, NewLocationForm, ProductForm
from loyalty_saas.portal.shared import MANAGERS, PAGE, LongListing, asked_text, is_owner, note
from loyalty_saas.tables import Column
from members import queries
from programs.models import Device, Location, Product
from programs.services import catalogue
from tenants.access import Actor, admits
from tenants.context import public_atomic
from tenants.services.clients import change_house

_PAGE = ["GET", "HEAD", "POST"]
TABS: Final = [
    ("settings", gettext_lazy("Business"), True),
    ("look", gettext_lazy("Look"), True),
    ("locations", gettext_lazy("Locations"), False),
    ("products", gettext_lazy("Products"), False),
    ("data", gettext_lazy("Data"), True),
]
PRODUCTS: Final = [
    Column("name", gettext_lazy("Product"), ("name", "sku")),
    Column("category", gettext_lazy("Category"), ("category", "sku")),
    Column("earning", gettext_lazy("Earns points"), ("earning", "sku")),
    Column("edit", gettext_lazy("Edit")),
]


def _page(
    request: ClientRequest, tab: str, template: str, context: dict[str, Any], *, status: int = 200
) -> HttpResponse:
    owner = is_owner(request)
    frame = {
        "tabs": [(f"portal:{name}", words, name == tab) for name, words, is_owners in TABS if owner or not is_owners],
        "section": "portal:settings",
    }
    return render(request, template, frame | context, status=status)


# ── the business ────────────────────────────────────────────────────────────────────────────────────────────────────


@admits(*MANAGERS)
@require_http_methods(_PAGE)
def settings(request: ClientRequest) -> HttpResponse:
    """The business' name and languages, for its owner; managers are shown what they may change."""
    if not is_owner(request):
        if request.method == "POST":
            raise PermissionDenied(_("Only the owner may change this."))
        return redirect("portal:locations")
    client = request.client
    initial = {"name": client.name, "main": client.language, "languages": client.languages}
    form = HouseForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        with public_atomic():
            change_house(
                client=client,
                name=form.cleaned_data["name"],
                languages=form.chosen,
                actor=f"user:{request.user.pk}",
                at=timezone.now(),
            )
        messages.success(request, _("Saved."))
        return redirect("portal:settings")
    context = {"form": form, "client": client}
    return _page(request, "settings", "portal/settings.html", context, status=422 if form.errors else 200)


@admits(Actor.OWNER)
@require_http_methods(_PAGE)
def look(request: ClientRequest) -> HttpResponse:
    """The colours, the typeface and the logo of all pages of this shop."""
    if request.htmx and request.method != "POST":
        return brand_form.preview(request)
    brand = brand_of(client=request.client)
    form = BrandForm(request.POST or None, request.FILES or None, brand=brand)
    if request.method == "POST" and form.is_valid():
        with public_atomic():
            form.save(at=timezone.now(), client=request.client)
        note(request, action="brand.changed", subject=request.client.slug, detail={"fields": form.changed_data})
        messages.success(request, _("Saved. All pages of the shop look like this from now on."))
        return redirect("portal:look")
    return _page(request, "look", "portal/settings_look.html", {"form": form}, status=422 if form.errors else 200)


# ── locations ───────────────────────────────────────────────────────────────────────────────────────────────────────


@admits(*MANAGERS)
@require_http_methods(_PAGE)
def locations(request: ClientRequest) -> HttpResponse:
    """Where purchases happen, and a further place."""
    form = NewLocationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            with transaction.atomic():
                added = catalogue.new_location(**form.cleaned_data)
        except catalogue.CodeTaken as taken:
            form.add_error("code", str(taken))
        else:
            note(request, action="location.added", subject=str(added.pk), detail={"code": added.code})
            messages.success(request, _("%(name)s is added.") % {"name": added.name})
            return redirect("portal:locations")
    tills = Count("devices", filter=Q(devices__revoked_at=None))
    context = {
        "form": form,
        "locations": list(Location.objects.annotate(tills=tills).order_by("closed_at", "name", "code")),
    }
    return _page(request, "locations", "portal/settings_locations.html", context, status=422 if form.errors else 200)


@admits(*MANAGERS)
@require_http_methods(_PAGE)
def location(request: ClientRequest, location_id: UUID) -> HttpResponse:
    """One location: another name for it."""
    found = get_object_or_404(Location, pk=location_id)
    form = LocationNameForm(request.POST or None, initial={"name": found.name})
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            catalogue.rename_location(location_id=found.pk, name=form.cleaned_data["name"])
        note(request, action="location.renamed", subject=str(found.pk), detail={"code": found.code})
        messages.success(request, _("Saved."))
        return redirect("portal:locations")
    tills = list(Device.objects.filter(location=found, revoked_at=None).order_by("name"))
    context = {"form": form, "location": found, "tills": tills}
    return _page(request, "locations", "portal/settings_location.html", context, status=422 if form.errors else 200)


@admits(*MANAGERS)
@require_POST
def location_doors(request: ClientRequest, location_id: UUID) -> HttpResponse:
    """Close a location, or open it again."""
    found = get_object_or_404(Location, pk=location_id)
    with transaction.atomic():
        if found.closed_at is None:
            catalogue.close_location(location_id=found.pk, at=timezone.now())
        else:
            catalogue.reopen_location(location_id=found.pk)
    action = "location.closed" if found.closed_at is None else "location.reopened"
    note(request, action=action, subject=str(found.pk), detail={"code": found.code})
    words = _("%(name)s is closed.") if found.closed_at is None else _("%(name)s is open again.")
    messages.success(request, words % {"name": found.name})
    return redirect("portal:locations")


# ── products ────────────────────────────────────────────────────────────────────────────────────────────────────────


@admits(*MANAGERS)
@require_safe
def products(request: ClientRequest) -> HttpResponse:
    """The catalogue: what is sold, in which category, and whether it earns."""
    text = asked_text(request)
    found = Product.objects.all()
    if text:
        found = found.filter(Q(sku__icontains=text) | Q(name__icontains=text) | Q(category__icontains=text))
    listing = LongListing(request, found, columns=PRODUCTS, default="name", size=PAGE)
    context = {"listing": listing, "query": text}
    return _page(request, "products", "portal/settings_products.html", context)


@admits(*MANAGERS)
@require_http_methods(_PAGE)
def new_product(request: ClientRequest) -> HttpResponse:
    """A further product."""
    form = ProductForm(request.POST or None, is_new=True, initial={"earning": True})
    if request.method == "POST" and form.is_valid():
        try:
            with transaction.atomic():
                added = catalogue.add_product(**form.cleaned_data)
        except catalogue.CodeTaken as taken:
            form.add_error("sku", str(taken))
        else:
            note(request, action="product.added", subject=str(added.pk), detail={"sku": added.sku})
            messages.success(request, _("%(name)s is added.") % {"name": added})
            return redirect("portal:products")
    return _page(
        request, "products", "portal/settings_product.html", {"form": form}, status=422 if form.errors else 200
    )


@admits(*MANAGERS)
@require_http_methods(_PAGE)
def product(request: ClientRequest, product_id: UUID) -> HttpResponse:
    """One product: its name, its category, whether it earns."""
    found = get_object_or_404(Product, pk=product_id)
    initial = {name: getattr(found, name) for name in ("sku", "name", "category", "earning")}
    form = ProductForm(request.POST or None, is_new=False, initial=initial)
    if request.method == "POST" and form.is_valid():
        values = {name: form.cleaned_data[name] for name in ("name", "category", "earning")}
        with transaction.atomic():
            catalogue.change_product(product_id=found.pk, **values)
        note(request, action="product.changed", subject=str(found.pk), detail={"sku": found.sku} | values)
        messages.success(request, _("Saved. It counts from the next purchase on."))
        return redirect("portal:products")
    context = {"form": form, "product": found}
    return _page(request, "products", "portal/settings_product.html", context, status=422 if form.errors else 200)


# ── data ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@admits(Actor.OWNER)
@require_safe
def data(request: ClientRequest) -> HttpResponse:
    """Everything the shop may take along."""
    return _page(request, "data", "portal/settings_data.html", {})


@admits(Actor.OWNER)
@require_http_methods(_PAGE)
@reauthentication_required
def export_data(request: ClientRequest, what: str) -> HttpResponseBase:
    """A file of everything of one kind, for the owner who has just shown who they are; kept in the audit trail."""
    if request.method == "POST":
        note(request, action=f"{what}.exported", subject=what)
        at = timezone.now()
        if what == "members":
            everybody = queries.listed(queries.Asked()).values_list("pk", flat=True)
            return exports.members(client=request.client, asked=everybody, at=at)
        return (exports.purchases if what == "purchases" else exports.points)(client=request.client, at=at)
    return _page(request, "data", "portal/settings_export.html", {"what": what})
