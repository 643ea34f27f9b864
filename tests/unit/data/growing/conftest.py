"""A service on loopback that the models of these tests answer from."""

from chat_service import make_endpoint, script, service

__all__ = ["make_endpoint", "script", "service"]
