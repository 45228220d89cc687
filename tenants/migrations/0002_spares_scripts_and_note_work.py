"""Spares are taken for good, scripts are kept, and a client marks itself as having work without reading who else has."""

import django.utils.timezone
from django.db import migrations, models

NOTE_WORK = """
CREATE FUNCTION public.note_work() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    client text := current_setting('role');
BEGIN
    IF client !~ '^c_[a-z2-7]{12}$' THEN
        RAISE EXCEPTION 'Only a client notes its work.' USING ERRCODE = 'insufficient_privilege';
    END IF;
    INSERT INTO public.tenants_waitingclient (schema_name) VALUES (client) ON CONFLICT DO NOTHING;
END;
$$;
REVOKE ALL ON FUNCTION public.note_work() FROM PUBLIC;
"""


class Migration(migrations.Migration):

    dependencies = [("tenants", "0001_initial")]

    operations = [
        migrations.AddField("spareschema", "taken_at", models.DateTimeField(null=True)),
        migrations.AddField("onboarding", "begun_at", models.DateTimeField(null=True)),
        migrations.CreateModel(
            name="SchemaScript",
            fields=[
                ("hash", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("script", models.TextField()),
                ("rights", models.TextField()),
                ("made_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.RunSQL(NOTE_WORK, "DROP FUNCTION public.note_work();"),
    ]
