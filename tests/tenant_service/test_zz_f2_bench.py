import time, asyncio
from datetime import datetime, UTC
import pytest
from tests.tenant_service.seals import *
from mis_tenancy.identifiers import new_id
async def test_bench(suite, test_servers):
    log = await new_log(suite, test_servers)
    async with log.hand() as h:
        ids=[new_id() for _ in range(2000)]
        await h.executemany("insert into tenants (id, name, slug, subdomain, plan, status, status_since, created_at, updated_at) values ($1, 'L', $2, $2, 'basic', 'active', $3, $3, $3)", [(i, f"b-{i.hex}", datetime.now(UTC)) for i in ids])
        t=time.perf_counter()
        n=0
        for r in range(100):
            rows=[(ids[(r*1000+k)%2000], new_id()) for k in range(2000)]
            await h.executemany("insert into audit_logs (tenant_id,id,kind,actor,action,resource,outcome,status,duration_us,ip,request_id,sources) values ($1,$2,'request',$1,'GET /api/v1/users',null,'success',200,1234,'10.0.0.1','req-1','[\"token\"]')", rows); n+=2000
        print("insert", n, time.perf_counter()-t)
        await h.execute("vacuum analyze audit_logs")
    t=time.perf_counter(); made=await log.sealing.seal(); d=time.perf_counter()-t
    print("sealed", made, "seals", n, "rows", d, n/d)
    for k in range(3):
        async with log.hand() as h:
            await h.executemany("insert into audit_logs (tenant_id,id,kind,action,outcome) values ($1,$2,'request','x','y')", [(ids[k], new_id()), (ids[k+1], new_id())])
        t=time.perf_counter(); made=await log.sealing.seal(); d=time.perf_counter()-t
        print("small pass", made, d)
    t=time.perf_counter(); made=await log.sealing.seal(); d=time.perf_counter()-t
    print("idle pass", made, d)
    async with log.hand() as h:
        for l in await h.fetch("explain (analyze, buffers) select tenant_id, id from audit_logs where xid >= (select mark from schedules where name='audit_seals') and xid < (select mark+100 from schedules where name='audit_seals') order by tenant_id, id"): print(l[0])
        print(await h.fetch("select pg_size_pretty(sum(pg_total_relation_size(i.indexrelid))) , regexp_replace(i.indexrelid::regclass::text, '\\d','','g') as n from pg_index i where indrelid in (select inhrelid from pg_inherits where inhparent='audit_logs'::regclass) group by 2"))
    big = await new_log(suite, test_servers)
    for _ in range(20): await big.write(1000)
    t=time.perf_counter(); await big.seal(); print("seal big", time.perf_counter()-t)
    t=time.perf_counter(); v=await big.verify(); d=time.perf_counter()-t
    print("verify", v.rows, v.bad, d, v.rows/d)
    assert 0
