"""What `read_fhir` is made of: lines, tables of resources, codes, people and times."""
