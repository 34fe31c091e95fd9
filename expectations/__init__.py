"""The suites of the jobs, as JSON, and the expectations that only this project has, as Python.

A module here defines an expectation and the metric behind it. It is imported before any suite is read, so a suite's
JSON names it like one of Great Expectations' own. `row_local = True` promises that each row is judged by itself alone:
then batches are judged apart. Without it the whole table's columns are read together. `expected_in_words` ends the
sentence that tells of a row in quarantine.
"""
