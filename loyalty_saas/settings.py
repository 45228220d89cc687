"""Settings, top to bottom, environment first. Defaults run a laptop; production without its secrets does not boot."""

import hashlib
import hmac
import sys
from pathlib import Path
from typing import Any

import environ
import structlog

from loyalty_saas.logs import name_client

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

# ── Who we are ──────────────────────────────────────────────────────────────────────────────────────────────────────

DEBUG = env.bool("DEBUG", default=True)
SECRET_KEY = env("SECRET_KEY", default="for-a-laptop-only-" + "0" * 40 if DEBUG else environ.Env.NOTSET)
PLATFORM_HOST = env("PLATFORM_HOST", default="platform.localhost" if DEBUG else environ.Env.NOTSET)
CLIENT_HOST_SUFFIX = env("CLIENT_HOST_SUFFIX", default=PLATFORM_HOST.partition(".")[2] or PLATFORM_HOST)
PUBLIC_SCHEME = env("PUBLIC_SCHEME", default="http" if DEBUG else "https")
PUBLIC_PORT = env("PUBLIC_PORT", default="")
# Without TLS, as on a laptop, browsers would drop cookies that insist on it.
IS_SECURE = PUBLIC_SCHEME == "https"
# Hosts are judged by the tenancy middleware: the platform's, a client's domain, or an error.
ALLOWED_HOSTS = ["*"]
STATE_DIR = Path(env("STATE_DIR", default=str(BASE_DIR / ".state")))

# ── Databases: DATABASE_URL is the owner's login, DATABASE_APP_URL the application's ────────────────────────────────

DATABASE_URL = env("DATABASE_URL", default="")
DATABASE_APP_URL = env("DATABASE_APP_URL", default="")
REDIS_URL = env("REDIS_URL", default="")

if not (DATABASE_URL or DATABASE_APP_URL) or not REDIS_URL:
    if not DEBUG:
        raise environ.ImproperlyConfigured("Set DATABASE_URL or DATABASE_APP_URL, and REDIS_URL.")
    from loyalty_saas import embedded

    _servers = embedded.ensure(STATE_DIR / "servers")
    if not (DATABASE_URL or DATABASE_APP_URL):
        DATABASE_URL = _servers.database_url
    REDIS_URL = REDIS_URL or _servers.redis_url


def _database(url: str, *, standing: str) -> dict[str, Any]:
    return {
        **env.db_url_config(url),
        "ENGINE": "tenants.postgresql",
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": False,
        "OPTIONS": {"standing": standing, "connect_timeout": 5, "application_name": f"loyalty-{standing}"},
        "ATOMIC_REQUESTS": False,
    }


def _app_database(owner: dict[str, Any], *, standing: str) -> dict[str, Any]:
    """The application's login made from the owner's: its own role, a password only this installation can derive."""
    role = f"{owner['NAME']}_app"
    password = hmac.new(SECRET_KEY.encode(), f"app-login:{role}".encode(), hashlib.sha256).hexdigest()
    return {**_database("postgres://", standing=standing), **{k: owner[k] for k in ("NAME", "HOST", "PORT")}} | {
        "USER": role,
        "PASSWORD": password,
    }


DATABASES: dict[str, dict[str, Any]] = {}
if DATABASE_URL:
    DATABASES["owner"] = _database(DATABASE_URL, standing="owner")
for _alias, _standing in (("default", "client"), ("public", "public")):
    DATABASES[_alias] = (
        _database(DATABASE_APP_URL, standing=_standing)
        if DATABASE_APP_URL
        else _app_database(DATABASES["owner"], standing=_standing)
    )
DATABASE_ROUTERS = ["tenants.routers.FloorRouter"]
TENANT_SYNC_ROUTER = "tenants.routers.FloorRouter"
TENANT_MODEL = "tenants.Client"
TENANT_DOMAIN_MODEL = "tenants.Domain"
SPARE_SCHEMAS = env.int("SPARE_SCHEMAS", default=5)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# ── Apps: the public schema's, then the client schemas' ─────────────────────────────────────────────────────────────

SHARED_APPS = [
    # Before django_tenants: our `migrate` goes over theirs.
    "tenants",
    "django_tenants",
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "csp",
    "django_htmx",
    "django_structlog",
    "rest_framework",
    "drf_spectacular",
    "drf_standardized_errors",
    "pgtrigger",
    # After pgtrigger, whose autodetector it hands on.
    "loyalty_saas.apps.LoyaltyConfig",
]
TENANT_APPS = ["programs", "members", "rewards", "training"]
INSTALLED_APPS = [*SHARED_APPS, *TENANT_APPS]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "tenants.middleware.HostMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django_permissions_policy.PermissionsPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "loyalty_saas.middleware.RequestLog",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "loyalty_saas.middleware.AccessMiddleware",
]
ROOT_URLCONF = "loyalty_saas.urls.client"
PLATFORM_URLCONF = "loyalty_saas.urls.platform"
WSGI_APPLICATION = "loyalty_saas.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "loyalty_saas.context_processors.face",
            ]
        },
    }
]

# ── People ──────────────────────────────────────────────────────────────────────────────────────────────────────────

AUTH_USER_MODEL = "tenants.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "loyalty_saas.passwords.LongEnough"},
    {"NAME": "loyalty_saas.passwords.NoHouseName"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
ACCOUNT_ADAPTER = "loyalty_saas.adapters.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_RATE_LIMITS = {"login_failed": "10/m/ip,5/5m/key,10/h/key"}
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_LOGOUT_REDIRECT_URL = "/"
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "Loyalty"
MFA_TOTP_TOLERANCE = 1
MFA_ADAPTER = "loyalty_saas.adapters.SecondFactorAdapter"
MFA_FORMS = {
    "authenticate": "loyalty_saas.forms.SecondFactorForm",
    "reauthenticate": "loyalty_saas.forms.SecondFactorAgainForm",
}
# How many of our own proxies write X-Forwarded-For; by default the header is not believed.
TRUSTED_PROXIES = env.int("TRUSTED_PROXIES", default=0)
# Whether staff above the till must use a second factor; only a demo on a laptop goes without.
REQUIRE_SECOND_FACTOR = env.bool("REQUIRE_SECOND_FACTOR", default=True)
SESSION_ENGINE = "django.contrib.sessions.backends.db"
SESSION_COOKIE_AGE = 12 * 3600
SESSION_IDLE_SECONDS = env.int("SESSION_IDLE_SECONDS", default=30 * 60)
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_NAME = "__Host-sessionid" if IS_SECURE else "sessionid"
CSRF_COOKIE_NAME = "__Host-csrftoken" if IS_SECURE else "csrftoken"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = IS_SECURE

# ── Headers ─────────────────────────────────────────────────────────────────────────────────────────────────────────

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}
PERMISSIONS_POLICY: dict[str, list[str]] = {"camera": [], "geolocation": [], "microphone": []}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CONTENT_TYPE_NOSNIFF = True
if IS_SECURE:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=True)
    SECURE_REDIRECT_EXEMPT = [r"^livez$", r"^readyz$"]
    SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=31_536_000)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
FILE_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024
IMPORT_MAX_BYTES = env.int("IMPORT_MAX_BYTES", default=200 * 1024 * 1024)

# ── Language, time, files ───────────────────────────────────────────────────────────────────────────────────────────

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
LOCALE_PATHS = [BASE_DIR / "loyalty_saas" / "locale"]
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "loyalty_saas" / "static"]
MEDIA_ROOT = Path(env("MEDIA_ROOT", default=str(STATE_DIR / "media")))
STORAGES = {
    "default": {"BACKEND": "tenants.files.ClientStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = DEBUG
EMAIL_BACKEND = env("EMAIL_BACKEND", default="django.core.mail.backends.console.EmailBackend")
DEFAULT_FROM_EMAIL = env("DEFAULT_FROM_EMAIL", default="loyalty@localhost")

# ── Redis: wakes workers and caches, holds nothing that cannot be rebuilt ───────────────────────────────────────────

CACHES = {
    "default": {
        "BACKEND": "loyalty_saas.caching.OutlivingCache",
        "LOCATION": REDIS_URL,
        "KEY_FUNCTION": "tenants.caching.make_key",
        "OPTIONS": {"socket_timeout": 0.5, "socket_connect_timeout": 0.5},
    }
}
CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_TIME_LIMIT = 600
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": env.int("CELERY_VISIBILITY_TIMEOUT", default=900),
    "socket_timeout": 5,
    "socket_connect_timeout": 1,
    "retry_on_timeout": True,
    "health_check_interval": 10,
}
# Celery closes the connection after every task unless told otherwise: a new one costs 30 times an empty drain.
CELERY_DB_REUSE_MAX = 1000
SWEEP_SECONDS = env.float("SWEEP_SECONDS", default=5.0)
# The most members whose purchases one batch credits.
BATCH_SIZE = 500

# ── API ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["tenants.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["tenants.authentication.HasScope"],
    "DEFAULT_PARSER_CLASSES": ["loyalty_saas.api.parsers.StrictJsonParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "loyalty_saas.api.schema.ProblemSchema",
    "DEFAULT_PAGINATION_CLASS": "loyalty_saas.api.pages.NewestFirst",
    "EXCEPTION_HANDLER": "loyalty_saas.api.problems.handle",
    "UNAUTHENTICATED_USER": None,
    "COERCE_DECIMAL_TO_STRING": True,
}
DRF_STANDARDIZED_ERRORS = {"EXCEPTION_FORMATTER_CLASS": "loyalty_saas.api.problems.ProblemFormatter"}
SPECTACULAR_SETTINGS = {
    "TITLE": "Loyalty API",
    "DESCRIPTION": "Members, purchases, points and rewards. Amounts are whole minor units of the client's currency.",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": r"/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_ADD_EXPLICIT_BLANK_NULL_CHOICE": False,
}

# ── Logs: one JSON line each, with the client, never with secrets or personal data ──────────────────────────────────

LOG_FORMAT = env("LOG_FORMAT", default="console" if DEBUG and sys.stderr.isatty() else "json")
LOG_LEVEL = env("LOG_LEVEL", default="INFO")
_shared_processors: list[Any] = [
    structlog.contextvars.merge_contextvars,
    name_client,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "structured": {
            "()": structlog.stdlib.ProcessorFormatter,
            "foreign_pre_chain": _shared_processors,
            "processors": [
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                # Tracebacks without local variables: those hold passwords and people.
                structlog.processors.format_exc_info,
                structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
                if LOG_FORMAT == "console"
                else structlog.processors.JSONRenderer(),
            ],
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {"django.request": {"level": "ERROR"}, "celery.worker.strategy": {"level": "WARNING"}},
}
structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        *_shared_processors,
        structlog.processors.format_exc_info,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)
DJANGO_STRUCTLOG_CELERY_ENABLED = False

SENTRY_DSN = env("SENTRY_DSN", default="")
if SENTRY_DSN:
    import sentry_sdk

    sentry_sdk.init(
        dsn=SENTRY_DSN, send_default_pii=False, max_request_body_size="never", include_local_variables=False
    )
