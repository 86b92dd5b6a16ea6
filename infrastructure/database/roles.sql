-- The four roles of the suite. Run once per database as a superuser, connected to that database; it may be run
-- again at any time. Passwords are set apart: ALTER ROLE mis_app PASSWORD '…'.

do $$
declare
    wanted text;
begin
    foreach wanted in array array['mis_owner', 'mis_app', 'mis_auth', 'mis_platform'] loop
        if not exists (select from pg_roles where rolname = wanted) then
            execute format(
                'create role %I login nosuperuser nobypassrls nocreatedb nocreaterole inherit', wanted);
        end if;
    end loop;
end
$$;

-- auth-service does what every service does, and keeps the platform's sign-in tables besides.
grant mis_app to mis_auth;

do $$
begin
    execute format('alter database %I owner to mis_owner', current_database());
    execute format('revoke all on database %I from public', current_database());
    execute format(
        'grant connect on database %I to mis_owner, mis_app, mis_auth, mis_platform', current_database());
end
$$;

-- Nobody but the owner makes objects: a temporary table or a function of the application's would stand outside
-- the policies.
revoke all on schema public from public;
grant all on schema public to mis_owner;
grant usage on schema public to mis_app, mis_auth, mis_platform;

-- A statement that hangs, or a transaction that waits for its client, must not hold others up.
alter role mis_app set statement_timeout = '30s';
alter role mis_app set idle_in_transaction_session_timeout = '60s';
alter role mis_app set lock_timeout = '10s';
alter role mis_auth set statement_timeout = '30s';
alter role mis_auth set idle_in_transaction_session_timeout = '60s';
alter role mis_auth set lock_timeout = '10s';
alter role mis_platform set statement_timeout = '10min';
alter role mis_platform set idle_in_transaction_session_timeout = '60s';
alter role mis_platform set lock_timeout = '10s';
