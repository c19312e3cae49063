from .records import Records as Records
