"""The application in containers, as ``sam local`` and Lambda run it: ``make e2e``."""
