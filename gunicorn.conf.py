"""The process model in one file: one worker that holds everything, stopped within three seconds.

Never import models here: peewee must see the patched threading module, or greenlets would share one
connection. Never send HUP: it would run two workers, and so two schedulers, side by side.
"""

import gc
import logging
import logging.config
import os
import resource
import signal
import sys
import threading

from rm.config import Settings
from rm.errors import NotReady
from rm.store.data_dir import DataDirLock

try:
    _settings = Settings.from_env()
except NotReady as error:
    sys.exit(f"restic-manager cannot start: {error}")

bind = _settings.listen
workers = 1
worker_class = _settings.worker_class
worker_connections = 25_000
threads = 4_000
timeout = 120
# Sockets and streams were closed before; only idle keep-alive connections are left to wait for.
graceful_timeout = 1
keepalive = 30
# A path inside a snapshot may have 4,096 bytes; a third more stands for it in an address.
limit_request_line = 8190
preload_app = False
max_requests = 0
control_socket_disable = True
forwarded_allow_ips = ""
proc_name = "restic-manager"
errorlog = "-"
loglevel = "warning"
accesslog = None
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None

_FORMATS = {
    "text": "%(asctime)s %(levelname)-7s %(name)s: %(message)s",
    "json": '{"at": "%(asctime)s", "level": "%(levelname)s", "logger": "%(name)s", "message": %(json_message)s}',
}
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"()": "rm.logs.Formatter", "fmt": _FORMATS[_settings.log_format]}},
    "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "plain", "stream": "ext://sys.stderr"}},
    "root": {"level": _settings.log_level.upper(), "handlers": ["out"]},
    "loggers": {
        "gunicorn.error": {"level": "WARNING", "handlers": ["out"], "propagate": False},
        "gunicorn.access": {"level": "WARNING", "handlers": [], "propagate": False},
        "apscheduler": {"level": "WARNING"},
        "simple_websocket": {"level": "WARNING"},
    },
}


def on_starting(server):
    """Hold the data directory in the master, whose life is the server's."""
    logging.config.dictConfig(logconfig_dict)
    try:
        server.rm_lock = DataDirLock(_settings.data_dir)
    except NotReady as error:
        sys.exit(f"restic-manager cannot start: {error}")
    _raise_file_limit()


def post_worker_init(worker):
    """Switch the background work on, and stop cleanly on SIGTERM."""
    from rm import factory
    from rm.offload import is_green

    if worker_class == "gevent" and not is_green():
        raise RuntimeError("the worker was not patched by gevent before the application was imported")
    app = worker.wsgi
    factory.start(app)
    # Full collections took 290 ms with 3,000 connections: what exists now stays anyway.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 1000)
    logging.getLogger("rm").info("serving on %s", _settings.base_url)

    usual = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)}
    is_stopping = threading.Event()

    def stop(number, frame):
        if is_stopping.is_set():
            return
        is_stopping.set()

        def close_then_leave():
            try:
                factory.stop(app)
            finally:
                # gunicorn's own handler ends the accept loop; it expects SIGTERM's for a graceful end
                usual[signal.SIGTERM](signal.SIGTERM, None)

        if is_green():
            import gevent

            gevent.spawn(close_then_leave)
        else:
            threading.Thread(target=close_then_leave, daemon=True).start()

    for number in usual:
        signal.signal(number, stop)


def worker_exit(server, worker):
    logging.getLogger("rm").info("stopped")


def _raise_file_limit():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else max(soft, 65_536)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted < 4096:
        logging.getLogger("rm").warning("only %s open files are allowed; each host needs one", wanted)
