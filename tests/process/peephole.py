"""The deployed application with room for three agents, and a page that shows how its worker was set up."""

import gc

from app import app
from rm.domain.permissions import PUBLIC, allows
from rm.offload import is_green

app.extensions["rm_agents"]._max_agents = 3


@app.get("/peephole")
@allows(PUBLIC)
def peephole():
    return {"gc_threshold": gc.get_threshold(), "gc_frozen": gc.get_freeze_count(), "is_green": is_green()}
