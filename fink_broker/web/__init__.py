"""The REST gateway and its pages."""
