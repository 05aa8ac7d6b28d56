"""A science module that tells what history it was given."""

MODULE = '''
import pandas as pd
from fink_broker.science import ScienceModule

class Times(ScienceModule):
    """First, sum and number of the times of the history."""
    name = "times"
    version = "1.0"
    inputs = ("history.mjd",)
    outputs = {"first": "double", "sum": "double", "n": "int"}

    def process(self, alerts):
        past = alerts["history.mjd"]
        return pd.DataFrame({"first": [t.min() for t in past], "sum": [t.sum() for t in past], "n": [len(t) for t in past]}, index=alerts.index)
'''
