"""All settings, from environment variables; any ``X`` may also be given as a file by ``X_FILE``.

The defaults are those of the embedded server (``mldiag serve``): SQLite and a worker inside the process.
``DATABASE_URL`` and ``REDIS_URL`` switch to PostgreSQL and to Redis with separate Celery workers. Thresholds of
checks are not settings: they belong to a project.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import environ

env = environ.FileAwareEnv()

REPOSITORY = Path(__file__).resolve().parent.parent
HOME = Path(env.str("MLDIAG_HOME", default="~/.mldiag")).expanduser().resolve()


def kept_secret(path: Path) -> str:
    """Return the secret in ``path``, made on first use and readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text()
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_urlsafe(50))
    return path.read_text()


DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="") or kept_secret(HOME / "secret_key")
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
"""Earlier secrets: what was signed with them, API keys included, stays good."""
MLDIAG_AUTH = env.str("MLDIAG_AUTH", default="open" if DEBUG else "required")
"""``open``: whoever reaches the server may use it (this machine only). ``required``: a login or a project's key."""
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
TLS = env.bool("MLDIAG_TLS", default=False)
"""The server is reached by https (a proxy ends TLS and sets X-Forwarded-Proto)."""

INSTALLED_APPS = [
    "mldiag",
    "diagnostics",
    "sessions.apps.SessionsConfig",
    "projects",
    "rest_framework",
    "drf_spectacular",
    "django_htmx",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "servestatic.runserver_nostatic",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "mldiag.middleware.static_files",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "mldiag.middleware.LoginRequiredUnlessOpen",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "mldiag.middleware.this_machine_only",
    "mldiag.middleware.same_origin_writes",
]

ROOT_URLCONF = "mldiag.urls"
ASGI_APPLICATION = "mldiag.asgi.application"
WSGI_APPLICATION = "mldiag.wsgi.application"
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # The second place is where a wheel keeps them.
        "DIRS": [REPOSITORY / "templates", Path(__file__).parent / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

DATABASES = {"default": env.db_url("DATABASE_URL", default=f"sqlite:///{HOME / 'mldiag.sqlite3'}")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # Measured: anything but IMMEDIATE with WAL loses writes to "database is locked" under concurrent writers.
    # Opening the file, and telling it Django's functions, takes longer than most queries.
    DATABASES["default"]["CONN_MAX_AGE"] = None
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
    DATABASES["default"]["TEST"] = {"NAME": env.str("TEST_SQLITE", default=str(HOME / "test.sqlite3"))}
else:
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
    DATABASES["default"].setdefault("OPTIONS", {})["pool"] = env.bool("DATABASE_POOL", default=True)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Counts of attempts only (`projects.throttling`): losing them costs nothing, and waiting for a server would.
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {"MAX_ENTRIES": 20_000}},
}
MLDIAG_KEY_REQUESTS_PER_MINUTE = env.int("MLDIAG_KEY_REQUESTS_PER_MINUTE", default=12_000)
"""What one API key may ask of one web process; 0 for no limit. Clients that are told to wait do, and send again."""

REDIS_URL = env.str("REDIS_URL", default="")
MLDIAG_SWEEP_SECONDS = env.float("MLDIAG_SWEEP_SECONDS", default=10.0)
"""How often the sweeper looks for diagnoses that nobody claimed or whose lease ran out."""
MLDIAG_LEASE_SECONDS = env.float("MLDIAG_LEASE_SECONDS", default=90.0)
MLDIAG_MAX_ATTEMPTS = env.int("MLDIAG_MAX_ATTEMPTS", default=3)
MLDIAG_ANOMALY_MIN_SESSIONS = env.int("MLDIAG_ANOMALY_MIN_SESSIONS", default=20)
"""Healthy sessions from which a project learns what is normal; the engine asks for twenty at least."""
MLDIAG_ANOMALY_MIN_SCORE = env.int("MLDIAG_ANOMALY_MIN_SCORE", default=80)
"""Health score from which a finished session shows what is normal."""

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {
            "hosts": [{"address": REDIS_URL, "socket_connect_timeout": 0.5, "socket_timeout": 5}],
            "prefix": "mldiag",
        },
    }
    if REDIS_URL
    else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
}

CELERY_BROKER_URL = REDIS_URL or "memwake://"
CELERY_BROKER_TRANSPORT_OPTIONS = (
    {
        "visibility_timeout": 300,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_connect_timeout": 1,
        "socket_timeout": 5,
        "health_check_interval": 10,
        "max_retries": 1,
    }
    if REDIS_URL
    else {}
)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SOFT_TIME_LIMIT = 60
CELERY_TASK_TIME_LIMIT = 80
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_MAX_TASKS_PER_CHILD = 500
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 30
CELERY_WORKER_TIMER_PRECISION = 0.2
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# Without a pool a worker keeps its connection from task to task (`mldiag.celery` looks whether it still lives):
# making one costs more than a live check.
CELERY_DB_REUSE_MAX = 0 if DATABASES["default"]["OPTIONS"].get("pool", True) else 1_000
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE = {
    "sweep": {
        "task": "diagnostics.tasks.sweep",
        "schedule": MLDIAG_SWEEP_SECONDS,
        # Sweeps that no worker took for a while need not pile up.
        "options": {"expires": 6 * MLDIAG_SWEEP_SECONDS},
    }
}
# In memory: whether the last sweep was before or after a restart does not matter.
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "projects.authentication.KeyAuthentication",
        "projects.authentication.LoginAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["projects.permissions.SignedInUnlessOpen"],
    "DEFAULT_THROTTLE_CLASSES": ["projects.throttling.KeyThrottle"],
    "DEFAULT_PARSER_CLASSES": ["projects.parsers.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "projects.serializers.Pages",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "projects.serializers.error_response",
    "PAGE_SIZE": 50,
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "mldiag",
    "DESCRIPTION": "Diagnoses of machine-learning training runs.",
    "VERSION": "0.1.0",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "ENUM_NAME_OVERRIDES": {
        "SessionStatusEnum": "sessions.models.SessionStatus",
        "ItemStatusEnum": "sessions.services.items.Status",
        "ProblemStatusEnum": "diagnostics.problem_models.Status",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "mldiag.openapi.add_wire_format",
    ],
}

# What one ingest request may carry, before and after decompression.
MLDIAG_MAX_COMPRESSED_BYTES = 8 * 2**20
MLDIAG_MAX_BODY_BYTES = 32 * 2**20
DATA_UPLOAD_MAX_MEMORY_SIZE = MLDIAG_MAX_BODY_BYTES

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "/accounts/login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/accounts/login"

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = env.str("STATIC_ROOT", default=str(HOME / "static"))
_NODE_MODULES = REPOSITORY / "node_modules"
STATICFILES_DIRS = [
    (f"vendor/{name}", folder)
    for name, folder in {"uplot": _NODE_MODULES / "uplot" / "dist"}.items()
    if folder.is_dir()
]
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_AUTOREFRESH = DEBUG

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'"],
        # uPlot positions its canvas and legend through the DOM, which this allows; style attributes it does not.
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    },
}
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_NAME = "mldiag_session"
CSRF_COOKIE_NAME = "mldiag_csrf"
if TLS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
}
