"""Corpora of any size through a function, by Step Functions, on this machine or in AWS."""
