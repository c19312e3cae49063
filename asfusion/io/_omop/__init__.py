"""Tables of the OMOP common data model, a file for each kind of rows."""
