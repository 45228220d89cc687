"""Time-ordered ids made by the database, for rows that one statement makes in bulk."""

from django.db import migrations

_NATIVE = "SELECT uuidv7()"
# RFC 9562, section 5.7, put together from a random UUID: milliseconds over the first 48 bits, then the version.
_COMPOSED = """
    SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
        PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
        52, 1), 53, 1), 'hex')::uuid
"""


def create(apps, schema_editor):
    body = _NATIVE if schema_editor.connection.pg_version >= 180000 else _COMPOSED
    schema_editor.execute(f"CREATE FUNCTION new_id() RETURNS uuid LANGUAGE sql VOLATILE AS $body$ {body} $body$")


class Migration(migrations.Migration):
    dependencies = [("members", "0001_initial")]
    operations = [migrations.RunPython(create, migrations.RunPython.noop)]
