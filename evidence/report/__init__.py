"""The report of a comparison: read, computed, put in words, tables and charts. Texts and bytes come out; nobody here writes."""
