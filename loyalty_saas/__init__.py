"""The roof: settings, urls, workers, the journeys that span apps, and the faces that join them."""

from loyalty_saas.celery import app as celery_app

__all__ = ["celery_app"]
