#!/bin/sh
# Make the databases `mlflow` and `optuna`, each with an owner of its name that alone may connect.
# The image of PostgreSQL runs it once. It reads MLFLOW_DB_PASSWORD and OPTUNA_DB_PASSWORD.
set -eu
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="${POSTGRES_USER:-postgres}" \
  --dbname="${POSTGRES_DB:-postgres}" <<'SQL'
\set mlflow_password `printf %s "$MLFLOW_DB_PASSWORD"`
\set optuna_password `printf %s "$OPTUNA_DB_PASSWORD"`
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow_password';
CREATE ROLE optuna LOGIN PASSWORD :'optuna_password';
CREATE DATABASE mlflow OWNER mlflow;
CREATE DATABASE optuna OWNER optuna;
REVOKE CONNECT ON DATABASE mlflow FROM PUBLIC;
REVOKE CONNECT ON DATABASE optuna FROM PUBLIC;
SQL
