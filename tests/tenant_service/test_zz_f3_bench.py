import asyncio, time, random, json
import pytest
from datetime import datetime, timedelta, UTC
from mis_tenancy.audit import AuditRecord
from mis_tenancy.audit_store import insert_records
from mis_tenancy.identifiers import new_id
from tenant_service.usage import service
from tenant_service.usage.ranges import read_range
from tests.suite import Suite
ROUTES=[f"{m} /api/v1/thing{i}" for i in range(10) for m in ("GET","POST")]
async def test_bench(suite: Suite, capsys) -> None:
    tenant = await suite.tenant("enterprise"); other=await suite.tenant("custom")
    now=datetime.now(UTC); rng=random.Random(1)
    users=[new_id() for _ in range(300)]
    def rec(m,t=tenant): return AuditRecord(t.id,"request",rng.choice(ROUTES),id=new_id(int(m.timestamp()*1000)),actor=rng.choice(users),actor_kind="member",status=rng.choice([200]*9+[404]),outcome="success",duration_us=int(rng.lognormvariate(9,1)),counted=True,ip="1.2.3.4",user_agent="x"*40,request_id="r",sources=["token"])
    out=[]
    async with suite.database.system_transaction(tenant.id) as s:
        pass
    # a year: 400 requests/day
    t=time.perf_counter(); n=0
    for d in range(366):
        batch=[rec(now-timedelta(days=d,seconds=rng.randrange(60000))) for _ in range(400)]
        await insert_records(suite.database,batch); n+=len(batch)
    out.append(f"spread drain {n/(time.perf_counter()-t):.0f} rec/s")
    for label,k in (("one tenant 1000-batches",10),):
        batches=[[rec(now,other) for _ in range(1000)] for _ in range(k)]
        t=time.perf_counter()
        for b in batches: await insert_records(suite.database,b)
        out.append(f"{label} {k*1000/(time.perf_counter()-t):.0f} rec/s")
    from sqlalchemy import text
    for asked in ("30d","12m","24h"):
        for what in ("usage","analytics"):
            ts=[]
            for _ in range(40):
                t=time.perf_counter()
                a=await suite.client.get(f"/api/v1/tenants/{tenant.id}/{what}",params={"timeRange":asked},headers=suite.operator)
                ts.append(time.perf_counter()-t); assert a.status_code==200
            out.append(f"{what} {asked}: p50 {sorted(ts)[12]*1e3:.1f} ms, {len(a.content)} bytes")
    with capsys.disabled(): print("\n"+"\n".join(out))
