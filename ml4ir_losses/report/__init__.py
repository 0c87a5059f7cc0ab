"""Reports: figures and HTML pages from plain data. Reads no files of a run and knows no models."""
