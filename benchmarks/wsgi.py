"""The product's application with one address more; only the benchmarks' own web server runs it."""

from django.conf import settings

from loyalty_saas.wsgi import application

__all__ = ["application"]

settings.ROOT_URLCONF = "benchmarks.constant"
