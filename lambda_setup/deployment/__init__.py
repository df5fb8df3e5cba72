"""Deployments: a function with its buckets, in AWS or on this machine, behind one protocol."""

from lambda_setup.deployment.protocol import Deployment, FunctionFacts, StateMachine

__all__ = ["Deployment", "FunctionFacts", "StateMachine"]
