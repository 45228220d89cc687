import time, random
import redis
from tests.live import *
from tests.members.world import *
from tests.members.world import live as go_live
from loyalty_saas.tasks import drain, sweep

def test_loop(acme, worker, live_redis):
    go_live()
    ana = new_member("ana")
    worker.environment["LOG_FORMAT"] = "console"
    worker.start()
    chance = random.Random(3)
    n = 0
    for turn in range(8):
        c = redis.Redis.from_url(live_redis.url)
        from loyalty_saas.celery import app
        with app.connection_for_write(live_redis.url) as conn:
            for _ in range(30):
                drain.apply_async(kwargs={"schema_name": acme.schema_name}, connection=conn)
                sweep.apply_async(connection=conn)
        time.sleep(chance.random()*0.3)
        live_redis.kill()
        time.sleep(0.3)
        live_redis.start()
        t=time.monotonic()
        buy(ana, receipt=f"R-{turn}", lines=[line(100)])
        wait_until(lambda: points(ana) == 100*(turn+1), seconds=40, unless=lambda: not worker.runs)
        print(turn, time.monotonic()-t, worker.runs, flush=True)
