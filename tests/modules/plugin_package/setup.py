"""A package of somebody else with one science module, found by its entry point."""

from setuptools import setup

setup(
    name="fink-brightness",
    version="1.0",
    py_modules=["fink_brightness"],
    entry_points={"fink.science_modules": ["brightness = fink_brightness:Brightness"]},
)
