from __future__ import annotations

from django.apps.registry import Apps
from django.core.management.color import no_style
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

DEFAULT_PROJECT_ID = 1


def add_default_project(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Make project 1, so that ``Observer(project_id=1)`` works on a fresh server."""
    project = apps.get_model("projects", "Project")
    connection = schema_editor.connection
    project.objects.using(connection.alias).get_or_create(pk=DEFAULT_PROJECT_ID, defaults={"name": "Default project"})
    # An explicit id does not move PostgreSQL's sequence, and the next project would ask for the same id.
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), [project]):
            cursor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("projects", "0001_initial")]
    operations = [migrations.RunPython(add_default_project, migrations.RunPython.noop)]
