-- Runs as mis_owner at the end of a restoration, in its transaction. What is restored is older than what the
-- world has seen since, so nothing that was ended meanwhile may come back to life.
set local search_path = public, pg_temp;

-- Nobody is signed in. Tokens that need no row die with the keys that signed them; new keys are made at the
-- next start.
update sessions set revoked_at = now(), revoked_reason = 'restored' where revoked_at is null;
update operator_sessions set revoked_at = now(), revoked_reason = 'restored' where revoked_at is null;
delete from public_signing_keys;

-- Links and codes that work once may have worked already.
delete from account_tokens;
delete from challenges;
delete from sso_attempts;

-- News of another server's transactions would be heard again and again; whoever still runs hears of the keys.
delete from revocations;
insert into revocations (id, kind) values (gen_random_uuid(), 'signing_key');

-- A run that held a job is not there any more.
update jobs set leased_until = now() where state = 'running';
