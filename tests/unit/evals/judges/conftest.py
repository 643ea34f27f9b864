"""A service on loopback that judges."""

from chat_service import make_endpoint, script, service

__all__ = ["make_endpoint", "script", "service"]
