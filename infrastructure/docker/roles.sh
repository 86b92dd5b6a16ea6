#!/usr/bin/env bash
# Makes the suite's four roles when Postgres makes its cluster; the image runs it once, as the superuser.
set -euo pipefail

mis() { psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" "$@"; }

mis --file /mis/roles.sql
for role in mis_owner mis_app mis_auth mis_platform; do
    # psql reads the password, so that it shows neither in a process list nor in the server's log.
    mis --set role="$role" --set file="/run/mis/$role" <<'SQL'
\set password `cat :file`
set log_statement = none;
alter role :"role" password :'password';
SQL
done
