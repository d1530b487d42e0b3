"""The report: charts, sentences and the page."""
